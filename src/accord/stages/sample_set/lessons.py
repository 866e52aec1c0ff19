"""Lessons as demonstrations, in the very conversations in which a constitution's principles are
put to a model: its critique, its revision, and its verdict on the two.
"""

from collections.abc import Sequence
from typing import Any

from accord.core.types import Message
from accord.corpora.sample_set.editing import Lesson
from accord.judges.constitution import Constitution
from accord.judges.principle_wording import comparison_wording, critique_turns, revision_turns
from accord.judges.wording import transcript


def lesson_rows(lessons: Sequence[Lesson]) -> list[dict[str, Any]]:
    """Demonstrations of each lesson, with the columns `rule` and `step`: critique, revision, and,
    where the rule has a question, the verdict in both orders.
    """
    return [row for lesson in lessons for row in _rows(lesson)]


def _rows(lesson: Lesson) -> list[dict[str, Any]]:
    principle = {
        "id": lesson["id"],
        "part": "helpful",
        "critique_request": lesson["critique_request"],
        "revision_request": lesson["revision_request"],
        "comparison": lesson["comparison"] or "(none)",
    }
    values = {"name": "lesson", "form": "compact", "principle": [principle]}
    ours = Constitution.from_values(values, where=lesson["id"])
    rule, prompt, response = ours.principles[0], lesson["prompt"], lesson["response"]
    wording = comparison_wording(ours, rule)
    talk, (first, second) = transcript(prompt), wording.options
    asked = [
        ("critique", critique_turns(ours, rule, prompt, response), lesson["critique"]),
        (
            "revision",
            revision_turns(ours, rule, prompt, response, lesson["critique"]),
            lesson["revision"],
        ),
    ]
    if lesson["comparison"]:
        asked += [
            ("comparison", wording.messages(talk, response, lesson["revision"]), second),
            ("comparison", wording.messages(talk, lesson["revision"], response), first),
        ]
    return [
        {
            "prompt": messages,
            "completion": [Message(role="assistant", content=said)],
            "rule": lesson["rule"],
            "step": step,
        }
        for step, messages, said in asked
    ]
