"""Lessons have the forms in which principles are put to a model, and nothing of the answer."""

from accord.corpora.sample_set.editing import lessons
from accord.judges.constitution import Constitution
from accord.judges.principle_judge import DrawnPrinciples
from accord.judges.principle_wording import critique_turns, revision_turns
from accord.judges.wording import transcript
from accord.stages.sample_set.lessons import lesson_rows


def test_a_lesson_is_asked_as_a_principle_is() -> None:
    lesson = next(one for one in lessons(0, each=1, declines=1) if one["comparison"])
    critique, revision, *comparisons = lesson_rows([lesson])
    principle = {
        "id": "p",
        "part": "harmless",
        "critique_request": lesson["critique_request"],
        "revision_request": lesson["revision_request"],
        "comparison": lesson["comparison"],
    }
    values = {"name": "n", "form": "compact", "principle": [principle]}
    ours = Constitution.from_values(values, where="here")
    prompt, response = lesson["prompt"], lesson["response"]
    rule = ours.principles[0]
    assert critique["prompt"] == critique_turns(ours, rule, prompt, response)
    assert revision["prompt"] == revision_turns(ours, rule, prompt, response, lesson["critique"])
    orders = [(response, lesson["revision"]), (lesson["revision"], response)]
    wording = DrawnPrinciples(ours)
    asked = [
        wording.for_pair(transcript(prompt), *o).messages(transcript(prompt), *o) for o in orders
    ]
    assert [row["prompt"] for row in comparisons] == asked


def test_verdicts_name_the_revision_wherever_it_stands() -> None:
    made = [lesson for lesson in lessons(0, each=6, declines=6) if lesson["comparison"]]
    rows = lesson_rows(made)
    for number, lesson in enumerate(made):
        pair = rows[4 * number + 2 : 4 * number + 4]
        said = [row["completion"][0]["content"] for row in pair]
        assert sorted(said) == ["A", "B"]
        for verdict, row in zip(said, pair, strict=True):
            assert row["step"] == "comparison"
            assert f"\n{verdict}: {lesson['revision']}" in row["prompt"][0]["content"]


def test_no_question_is_answered_against_a_refusal() -> None:
    made = {lesson["rule"]: lesson for lesson in lessons(0, each=1, declines=1)}
    assert {name for name, lesson in made.items() if not lesson["comparison"]} == {"help"}
    steps = [row["step"] for row in lesson_rows([made["help"]])]
    assert steps == ["critique", "revision"]
