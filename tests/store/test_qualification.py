"""The qualification round: who gets tasks, who does not, and what never leaves it."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from accord.core.errors import ConflictError, DataError, NotFoundError
from accord.core.types import Message, Submission, Task
from accord.store.accounts import SqlAccounts
from accord.store.database import Database
from accord.store.judgements import SqlJudgements
from accord.store.membership import SqlMembership
from accord.store.projects import ATTRIBUTES, SqlProjects, default_guidelines
from accord.store.qualification import Asked, SqlQualification
from accord.store.questions import default_questions, questions_of_rows
from accord.store.queue import SqlTaskQueue


@pytest.fixture
def round_(database: Database) -> SqlQualification:
    """Ann, Ben and a lead; one task, and a round of five questions: a, b, a tie, a flag, a skip."""
    accounts = SqlAccounts(database)
    for name in ("ann", "ben"):
        accounts.create(name, "annotator")
    accounts.create("boss", "lead")
    SqlProjects(database).create("p")
    prompt = (Message(role="user", content="q"),)
    SqlTaskQueue(database).add([Task("t", "p", "pairwise", prompt, ("x", "y"), overlap=9)])
    qualification = SqlQualification(database, now=lambda: 7.0)
    qualification.ask("p", rows())
    qualification.change("p", is_required=True)
    return qualification


EXPECTED: list[dict[str, Any]] = [
    {"verdict": "a"}, {"verdict": "b"}, {"verdict": "tie"}, {"action": "flag"}, {"action": "skip"},
]  # fmt: skip


def rows() -> list[dict[str, Any]]:
    return [
        {"prompt": f"q{n}", "responses": ["x", "y"], "gold": gold, "reason": f"r{n}"}
        for n, gold in enumerate(EXPECTED)
    ]


def asked_of(qualification: SqlQualification, name: str) -> Asked | None:
    return qualification.next(name, "p")[1]


def take(qualification: SqlQualification, name: str, wrong: int = 0) -> str:
    """Answer all that is asked, the first few wrong; gives the state."""
    while (asked := asked_of(qualification, name)) is not None:
        expected = dict(asked.question.expected)
        action: Any = expected.pop("action", "judge")
        said = Submission("", expected, action=action)
        if wrong > 0:
            wrong, said = wrong - 1, Submission("", {"verdict": "both_bad"})
        told = qualification.answer(name, "p", asked.question.task.id, said)
        assert told.is_right == (said.answer != {"verdict": "both_bad"})
    return qualification.next(name, "p")[0].state


def has_task(qualification: SqlQualification, name: str) -> bool:
    queue = SqlTaskQueue(qualification.database)
    found = queue.lease(name, project="p")
    if found is not None:
        queue.release(found)
    return found is not None


@pytest.mark.parametrize(("wrong", "state"), [(0, "passed"), (1, "passed"), (2, "failed")])
def test_four_of_five_pass(round_: SqlQualification, wrong: int, state: str) -> None:
    assert not has_task(round_, "ann")
    assert take(round_, "ann", wrong) == state
    assert has_task(round_, "ann") == (state == "passed")
    assert not has_task(round_, "ben")  # each for himself
    assert has_task(round_, "boss")  # who asks need not answer
    ann, ben = round_.people("p")
    assert (ann.annotator, ann.state, ann.answered, ann.hits) == ("ann", state, 5, 5 - wrong)
    assert (ben.annotator, ben.state, ben.answered, ben.accuracy) == ("ben", "not_begun", 0, None)
    assert round_.accuracies("p") == ({"ann": (5 - wrong) / 5} if state == "passed" else {})


def test_every_question_is_for_everybody(round_: SqlQualification) -> None:
    for name in ("ann", "ben", "boss"):
        seen = []
        while (asked := asked_of(round_, name)) is not None:
            seen.append(asked.question.task.prompt[0]["content"])
            round_.answer(name, "p", asked.question.task.id, Submission("", {"verdict": "a"}))
        assert seen == [f"q{n}" for n in range(5)]


def test_an_answer_is_given_once(round_: SqlQualification) -> None:
    asked = asked_of(round_, "ann")
    assert asked is not None and asked_of(round_, "ann") == asked
    name = asked.question.task.id
    with pytest.raises(NotFoundError, match="not answered a question"):
        round_.feedback("ann", "p", name)
    first = round_.answer("ann", "p", name, Submission("", {"verdict": "b"}))
    assert not first.is_right and first.asked.question.reason == "r0"
    assert round_.answer("ann", "p", name, Submission("", {"verdict": "b"})) == first
    assert round_.feedback("ann", "p", name) == first
    with pytest.raises(ConflictError, match="answered this question"):
        round_.answer("ann", "p", name, Submission("", {"verdict": "a"}))
    with pytest.raises(DataError, match="verdict must be"):
        round_.answer("ben", "p", name, Submission("", {"verdict": "c"}))
    with pytest.raises(NotFoundError, match="asks no question 'none'"):
        round_.answer("ann", "p", "none", Submission("", {"verdict": "a"}))
    take(round_, "ann")
    (extra,) = round_.ask("p", [{**rows()[0], "prompt": "new"}])
    with pytest.raises(ConflictError, match="is over: passed"):
        round_.answer("ann", "p", extra.task.id, Submission("", {"verdict": "a"}))


def test_the_same_answer_many_times_at_once_is_one(round_: SqlQualification) -> None:
    asked = asked_of(round_, "ann")
    assert asked is not None
    name, said = asked.question.task.id, Submission("", {"verdict": "a"})
    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(lambda _: round_.answer("ann", "p", name, said), range(16)))
    assert len({repr(one) for one in told}) == 1
    (ann, _) = round_.people("p")
    assert (ann.number, ann.answered, ann.hits) == (1, 1, 1)


def test_it_never_reaches_the_project_s_figures(round_: SqlQualification) -> None:
    queue, log = SqlTaskQueue(round_.database), SqlJudgements(round_.database)
    before = queue.progress("p")
    take(round_, "ann")
    assert log.current() == [] and log.of("ann") == []
    assert queue.progress("p") == before and before["tasks"] == 1


def test_another_try_and_passing_by_hand(round_: SqlQualification) -> None:
    with pytest.raises(ConflictError, match="has not failed"):
        round_.let_try_again("p", "ann")
    assert take(round_, "ann", wrong=5) == "failed"
    round_.let_try_again("p", "ann")
    attempt, asked = round_.next("ann", "p")
    assert (attempt.number, attempt.state, attempt.answered) == (2, "under_way", 0)
    assert asked is not None and not has_task(round_, "ann")
    assert take(round_, "ann", wrong=2) == "failed"
    round_.let_pass("p", "ann", by="boss")
    assert has_task(round_, "ann")
    with pytest.raises(ConflictError, match="has not failed"):
        round_.let_try_again("p", "ann")
    round_.let_pass("p", "ben", by="boss")  # who has not begun
    assert has_task(round_, "ben") and asked_of(round_, "ben") is None
    ann, ben = round_.people("p")
    assert (ann.decided_by, ann.accuracy, ben.accuracy) == ("boss", 0.6, None)


def test_the_order_is_drawn_anew_for_each_try(round_: SqlQualification) -> None:
    """Or the right place would be known from the first."""
    orders: set[tuple[int, tuple[int, ...]]] = set()
    for number in range(1, 9):
        asked = asked_of(round_, "ann")
        assert asked is not None
        orders.add((number, asked.order))
        take(round_, "ann", wrong=5)
        assert round_.feedback("ann", "p", asked.question.task.id).asked.order == asked.order
        round_.let_try_again("p", "ann")
    assert {order for _, order in orders} == {(0, 1), (1, 0)}


def test_new_guidelines_may_demand_it_again(round_: SqlQualification) -> None:
    take(round_, "ann")
    asked = asked_of(round_, "ben")
    assert asked is not None
    round_.answer("ben", "p", asked.question.task.id, Submission("", {"verdict": "a"}))
    SqlProjects(round_.database).add_guidelines("p", "A typo less.")
    assert has_task(round_, "ann")
    SqlProjects(round_.database).add_guidelines("p", "All is other now.")
    round_.demand_again("p")
    assert not has_task(round_, "ann") and round_.accuracies("p") == {}
    assert {one.state for one in round_.people("p")} == {"not_begun"}
    assert take(round_, "ann") == take(round_, "ben") == "passed"
    assert has_task(round_, "ann")


def test_other_questions_in_the_middle_of_a_round(round_: SqlQualification) -> None:
    """Answers to what is asked no more do not count, and nobody is asked anything twice."""
    for verdict in ("b", "b"):  # wrong, right
        asked = asked_of(round_, "ann")
        assert asked is not None
        round_.answer("ann", "p", asked.question.task.id, Submission("", {"verdict": verdict}))
    round_.ask("p", rows()[1:3])
    attempt, asked = round_.next("ann", "p")
    assert (attempt.answered, attempt.hits, attempt.questions) == (1, 1, 2)
    assert asked is not None and asked.question.task.prompt[0]["content"] == "q2"
    round_.ask("p", rows()[1:2])
    assert round_.next("ann", "p")[0].state == "passed"  # nothing is left that he has not answered
    round_.ask("p", rows())
    assert round_.next("ann", "p")[0].state == "passed"
    assert [q.reason for q in round_.questions("p")] == [f"r{n}" for n in range(5)]


def test_switched_off_it_asks_nothing(round_: SqlQualification) -> None:
    round_.change("p", is_required=False)
    assert has_task(round_, "ann") and round_.get("p").pass_share == 0.8
    with pytest.raises(NotFoundError, match="no project 'missing'"):
        round_.change("missing", is_required=True)
    for share in (0.0, 1.1):
        with pytest.raises(DataError, match="pass_share"):
            round_.change("p", pass_share=share)


def test_categories_that_somebody_opted_out_of(round_: SqlQualification) -> None:
    marked = [{**row, "category": "violence"} for row in rows()[:1]]
    round_.ask("p", marked + rows()[1:])
    SqlAccounts(round_.database).opt_out("ann", ["violence"])
    attempt, asked = round_.next("ann", "p")
    assert attempt.questions == 4
    assert asked is not None and asked.question.task.prompt[0]["content"] == "q1"
    assert take(round_, "ann") == "passed"


def test_it_is_for_whoever_may_see_the_project(round_: SqlQualification) -> None:
    SqlProjects(round_.database).update("p", is_open=False)
    SqlMembership(round_.database).add("p", "ben")
    assert [one.annotator for one in round_.people("p")] == ["ben"]
    question = round_.questions("p")[0].task.id
    for refused in (
        lambda: round_.next("ann", "p"),
        lambda: round_.answer("ann", "p", question, Submission("", {"verdict": "a"})),
        lambda: round_.let_pass("p", "ann", by="boss"),
    ):
        with pytest.raises(NotFoundError, match="no project 'p'"):
            refused()


def test_answers_are_erased_on_request(round_: SqlQualification) -> None:
    take(round_, "ann", wrong=1)
    question = round_.questions("p")[0].task.id
    SqlJudgements(round_.database).erase(annotator="ann")
    told = round_.feedback("ann", "p", question)
    assert told.said is None and not told.is_right
    assert round_.accuracies("p") == {"ann": 0.8}


def test_the_set_that_ships(database: Database) -> None:
    """It is of every guideline's edge cases, and cannot be passed by one answer to everything."""
    found = questions_of_rows(default_questions(), project="p", kind="pairwise")
    assert {q.task.columns["guideline"] for q in found} == set(ATTRIBUTES)
    answers = [Submission("", {"verdict": v}) for v in ("a", "b", "tie", "both_bad")]
    asides: Any = ("skip", "flag", "unsure")
    answers += [Submission("", {}, action=action) for action in asides]
    assert all(sum(q.is_right(said) for q in found) < 0.6 * len(found) for said in answers)
    for word in ("Both bad", "Skip", "Flag", "A tie is an answer"):
        assert word in default_guidelines()
    actions = {q.expected.get("action") or q.expected["verdict"] for q in found}
    assert actions == {"a", "b", "tie", "both_bad", "skip", "flag"}
    SqlProjects(database).create("p")
    qualification = SqlQualification(database)
    qualification.change("p", is_required=True)
    assert qualification.questions("p") == found


def test_it_is_for_pairs(database: Database) -> None:
    SqlProjects(database).create("p")
    prompt = (Message(role="user", content="q"),)
    SqlTaskQueue(database).add([Task("t", "p", "success", prompt, ("x",))])
    qualification = SqlQualification(database)
    with pytest.raises(DataError, match="has success tasks: give it questions of its own"):
        qualification.change("p", is_required=True)
    assert not qualification.get("p").is_required
    own = {"prompt": "q", "response": "x", "gold": {"success": False}, "reason": "r"}
    qualification.ask("p", [own], kind="success")
    assert qualification.change("p", is_required=True).is_required


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"gold": None}, "row 2: expected an answer in 'gold', got None"),
        ({"gold": {"verdict": "c"}}, "row 2, 'gold': .* verdict must be"),
        ({"gold": {"action": "flag", "verdict": "a"}}, "row 2: 'gold' is an answer, or an action"),
        ({"gold": {"action": "undo"}}, "row 2: 'gold' is an answer, or an action"),
        ({"reason": " "}, "row 2: expected a 'reason'"),
        ({"kind": "critique", "responses": ["x"]}, "row 2: a critique has no answer"),
        ({"chosen": "x", "rejected": "y"}, "row 2: give `responses`"),
        ({"responses": ["x"]}, "row 2: .* needs 2 to 2"),
        (rows()[0], "expected 1 to 200 questions, each once; got 2"),
    ],
)
def test_rows_that_are_no_questions(change: dict[str, Any], says: str) -> None:
    broken = {**rows()[1], **change}
    with pytest.raises(DataError, match=says):
        questions_of_rows([rows()[0], broken], project="p", kind="pairwise", where="f.jsonl")
