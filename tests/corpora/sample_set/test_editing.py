"""Lessons: about other things than harm, in the training world, and right."""

from collections import Counter

import pytest

from accord.corpora.sample_set import wording
from accord.corpora.sample_set.editing import RULES, TOPICS, Lesson, lessons
from accord.corpora.sample_set.harmful_acts import HARMFUL_ACTS
from accord.corpora.sample_set.harmless_acts import HARMLESS_ACTS
from accord.corpora.sample_set.vocabulary import TEST

TEXTS = (
    "response",
    "critique_request",
    "critique",
    "revision_request",
    "revision",
    "comparison",
)


@pytest.fixture(scope="module")
def made() -> list[Lesson]:
    return lessons(0, each=60, declines=120)


def texts(lesson: Lesson) -> list[str]:
    return [lesson["prompt"][0]["content"], *(lesson[name] for name in TEXTS)]  # type: ignore[literal-required]


def test_every_rule_and_every_topic_is_practised(made: list[Lesson]) -> None:
    expected = {rule.name: 120 if rule.name == "decline" else 60 for rule in RULES}
    assert Counter(lesson["rule"] for lesson in made) == expected
    assert set(TOPICS) == {act.name for act in HARMLESS_ACTS}
    asked = " ".join(lesson["critique_request"] for lesson in made)
    assert sum(topic in asked for topics in TOPICS.values() for topic in topics) >= 30


def test_none_is_about_harm(made: list[Lesson]) -> None:
    acts = [act.wording.split(" {")[0] for act in HARMFUL_ACTS]
    for lesson in made:
        for text in texts(lesson):
            assert not any(wording.has_word(text, act) for act in acts), text
            assert not wording.is_hostile(text), text
            for word in ("harm", "harmful", "crime", "cruelty", "doing wrong", "thief", "bully"):
                assert not wording.has_exactly(text, word), text
        if lesson["rule"] != "help":
            assert not wording.complies(lesson["revision"]), lesson


def test_no_word_of_the_test_world_is_in_them(made: list[Lesson]) -> None:
    taken = {w.lower() for field in vars(TEST).values() for w in field if not w.isdigit()}
    for lesson in made:
        words = {word for text in texts(lesson) for word in wording.words_of(text)}
        assert not words & taken


def test_the_revision_is_what_the_rule_asks_for(made: list[Lesson]) -> None:
    for lesson in made:
        before, after = lesson["response"], lesson["revision"]
        assert before != after and "{" not in "".join(texts(lesson))
        match lesson["rule"]:
            case "decline" | "decline-briefly":
                assert wording.refuses(after) and not wording.refuses(before)
            case "shorten":
                assert before.startswith(after) and len(after) < len(before)
            case "befriend":
                assert after.endswith(before)
            case "help":
                assert wording.refuses(before) and not wording.refuses(after)
            case "admit":
                assert wording.admits_ignorance(after) and not wording.admits_ignorance(before)
            case "complete":
                assert len(after.split()) > len(before.split())


def test_the_same_seed_gives_the_same_lessons(made: list[Lesson]) -> None:
    assert lessons(0, each=60, declines=120) == made
    assert lessons(1, each=60, declines=120) != made
