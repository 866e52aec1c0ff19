"""The prompts can be followed, all of them; grading tells who follows them."""

import pytest

from accord.suites.base import Answer
from accord.suites.checks import Check
from accord.suites.instruction_following import InstructionFollowing
from accord.suites.instruction_prompts import (
    CLOSED_COMBINATION,
    COMBINATIONS,
    InstructedPrompt,
    make_prompts,
)

LONG = "bread takes time and warmth " * 20

# One response for each combination, in their order.
RESPONSES = [
    LONG,
    "It rains.",
    "It rains. It pours. It stops.",
    "One. Two. Three. Four. Five.",
    "It rains.\n\nIt stops.",
    "To begin with, it rains.\n\nIt pours.\n\nIt stops.",
    "rain\nfog\nmist\nsun",
    "It rains and it pours and it\nsnows and it hails and it\nthaws and it dries and all\nis well.",
    "Be careful in the morning, together.",
    "It rains in town and people stay at home with warm tea today.",
    "Always look, always listen.",
    "It rains in the town and the bakers wake and knead their white bread at dawn.",
    "- a\n- b\n- c\n- d",
    "- A\n- B\n- C",
    "1. a\n2. b\n3. c\n4. d\n5. e",
    '{"title": "Rain", "summary": "It rains."}',
    '["rain", "fog", "sun"]',
    "| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |\n| 5 | 6 |",
    f"Part 1\n{LONG}\nPart 2\nIt stops.",
    "<<Rain>>\nIt rains.\nP.S. It stops.",
    "It *rains* and it *pours*.",
    "Dear [name], come to [place].",
    "It rains.\n******\nIt pours.",
    "it rains, and that is all there is to it.",
    "IT RAINS.",
    "It RAINS and POURS. It is VERY wet.",
    "First it rains then it pours and last it stops.",
    "Does it rain? Does it pour?",
    "¿Llueve? ¡No llueve!",
    "It is « rain ».",
    "It is „rain“.",
    "In short: it rains.",
    "It rains. What do you think?",
    '"It rains. It pours."',
]


def test_every_combination_can_be_followed() -> None:
    for checks, response in zip(COMBINATIONS, RESPONSES, strict=True):
        assert [check.kind for check in checks if not check.is_met_by(response)] == [], response
    assert all(check.is_met_by("Yes") for check in CLOSED_COMBINATION)


def test_prompts_are_many_and_differ_and_never_change_their_order() -> None:
    prompts = make_prompts()
    assert len(prompts) == 3 * (len(COMBINATIONS) + 1) >= 60
    assert len({prompt.text for prompt in prompts}) == len({p.id for p in prompts}) == len(prompts)
    assert prompts == make_prompts()
    assert prompts[0].text == ("Describe a rainy morning in a small town. Use at least 80 words.")
    assert all(check.ask() in prompt.text for prompt in prompts for check in prompt.checks)


def test_who_follows_everything_has_every_figure_at_one() -> None:
    suite = InstructionFollowing()
    replies = [response for response in RESPONSES for _ in range(3)] + ["Yes"] * 3
    answers = {
        question.id: Answer((reply,), ("stop",))
        for question, reply in zip(suite.questions(), replies, strict=True)
    }
    result = suite.grade(answers)
    assert {figure.value for figure in result.figures.values()} == {1.0}
    assert result.figures["prompt_strict"].n == len(replies)
    silent = suite.grade({key: Answer(("",), ("stop",)) for key in answers})
    assert {figure.value for figure in silent.figures.values()} == {0.0}


def test_figures_by_hand() -> None:
    lower, no_commas = Check("lower_case", {}), Check("no_commas", {})
    prompts = [
        InstructedPrompt("a", "", (lower, no_commas)),
        InstructedPrompt("b", "", (lower,)),
        InstructedPrompt("c", "", (lower,)),
    ]
    answers = {
        "a": Answer(("one, two",), ("stop",)),
        "b": Answer(("Sure:\none",), ("stop",)),
        "c": Answer(("one",), ("stop",)),
    }
    result = InstructionFollowing(prompts).grade(answers)
    values = {name: figure.value for name, figure in result.figures.items()}
    assert values == pytest.approx(
        {
            "prompt_strict": 1 / 3,
            "prompt_loose": 2 / 3,
            "instruction_strict": 2 / 4,
            "instruction_loose": 3 / 4,
            "kind/lower_case": 2 / 3,
            "kind/no_commas": 0,
        }
    )
    assert result.figures["instruction_strict"].n == 3  # prompts, not instructions
    assert result.rows[1] == {
        "id": "b",
        "response": "Sure:\none",
        "kinds": ["lower_case"],
        "strict": [False],
        "loose": [True],
    }
