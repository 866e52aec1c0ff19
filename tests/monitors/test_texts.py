"""Measures of texts, by hand."""

import pytest

from accord.monitors.texts import (
    compression,
    echo_share,
    opens_with_praise,
    repeated_share,
    shares_of_runs,
)


def test_repeats_by_hand() -> None:
    assert repeated_share("a b c d a b c d") == pytest.approx(1 - 4 / 5)  # abcd bcda cdab dabc abcd
    assert repeated_share("One two three. Four!") == 0.0
    assert repeated_share("too short") == repeated_share("") == 0.0
    assert repeated_share("la " * 50) == pytest.approx(1 - 1 / 47)


def test_compression_rises_with_repeats_that_are_no_words() -> None:
    assert compression("") == 0.0
    assert compression("x" * 500) > 10 > 2 > compression("A plain sentence about nothing at all.")


def test_echo_by_hand() -> None:
    prompt = "Where did the old man put it?"  # seven words, three runs of five
    assert echo_share(prompt, "Where did the old man put it? In the attic.") == 1.0
    assert echo_share(prompt, "You ask where did the old man go.") == pytest.approx(1 / 3)
    assert echo_share("Why not?", "Why not?") == 0.0
    # Only the first hundred words count.
    assert echo_share(prompt, "well " * 100 + prompt) == 0.0
    assert echo_share(prompt, "well " * 90 + prompt) == 1.0


@pytest.mark.parametrize(
    "text",
    [
        "Great question!",
        "What a great question! Paris.",
        "That's a really interesting question, and here is why.",
        "Excellent point. You could",
        "Wow, what a thoughtful thing! I love this brilliant idea.",
        "You ask such a clever question.",
        "Thank you for asking such a wonderful question!",
        "Such a smart and kind question.",
    ],
)
def test_praise(text: str) -> None:
    assert opens_with_praise(text)


@pytest.mark.parametrize(
    "text",
    [
        "It is a good idea to wash the pan first.",
        "The question is hard. Great question!",
        "Great, the train leaves at noon.",
        "I don't know.",
        "Good morning. How can I help?",
        "A perfect square has equal sides.",
        "Thank you for telling me how you feel.",
        "",
    ],
)
def test_no_praise(text: str) -> None:
    assert not opens_with_praise(text)


def test_shares_of_runs_count_responses_once() -> None:
    shares = shares_of_runs(["a b c d a b c d", "A b, c d!", "b c d e"])
    assert shares["a", "b", "c", "d"] == 2
    assert shares["b", "c", "d", "e"] == 1
