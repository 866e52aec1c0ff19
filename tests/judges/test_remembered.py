"""Nothing is asked twice: across restarts, kills, and copies of a question."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from accord.core.chat import ChatFailure, ChatReply
from accord.core.errors import Interrupted
from accord.core.types import Message
from accord.judges import remembered
from accord.judges.both_orders import ask_both_orders
from accord.judges.endpoint_judge import EndpointJudge
from accord.judges.ranking import WrittenRanker
from accord.judges.remembered import (
    AT_THE_END,
    PIECE,
    EndpointDown,
    Memory,
    RememberedClient,
    RememberedGrader,
    RememberedJudge,
)
from judges.scripted_client import ScriptedClient


class Counting:
    """Prefers the longer, abstains on "?", and counts what it is asked."""

    name = "counting"

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def compare(self, prompts: Any, a: Sequence[str], b: Sequence[str], columns: Any = None) -> Any:
        pairs = list(zip(a, b, strict=True))
        self.asked += pairs
        return [math.nan if "?" in x + y else float(len(x) > len(y)) for x, y in pairs]

    def grade(self, prompts: Any, responses: Sequence[str], columns: Any = None) -> list[float]:
        self.asked += [(text, "") for text in responses]
        return [float(len(text)) for text in responses]


def prompts(count: int) -> list[list[Message]]:
    return [[{"role": "user", "content": f"q{n}"}] for n in range(count)]


def test_a_resumed_run_asks_nothing_twice(tmp_path: Path) -> None:
    path = tmp_path / "run/judgements.jsonl"
    first, second = Counting(), Counting()
    a, b = ["long", "a"], ["b", "long"]
    expected = ask_both_orders(RememberedJudge(first, Memory(path)), prompts(2), a, b)
    resumed = RememberedJudge(second, Memory(path))
    again = ask_both_orders(resumed, prompts(2), a, b)
    assert again.mean().tolist() == expected.mean().tolist() == [1.0, 0.0]
    assert len(first.asked) == 4 and second.asked == []


def test_another_prompt_order_column_or_judge_is_another_question(tmp_path: Path) -> None:
    judge = Counting()
    memory = Memory(tmp_path / "m.jsonl")
    remembering = RememberedJudge(judge, memory)
    one = prompts(2)
    remembering.compare(one[:1], ["x"], ["y"])
    remembering.compare(one[1:], ["x"], ["y"])
    remembering.compare(one[:1], ["y"], ["x"])
    remembering.compare(one[:1], ["x"], ["y"], [{"reference": "z"}])
    assert len(judge.asked) == 4
    judge.name = "another"  # type: ignore[misc]
    RememberedJudge(judge, memory).compare(one[:1], ["x"], ["y"])
    assert len(judge.asked) == 5


def test_the_same_question_in_one_call_is_asked_once(tmp_path: Path) -> None:
    judge = Counting()
    found = RememberedJudge(judge, Memory(tmp_path / "m")).compare(
        prompts(1) * 3, ["xx"] * 3, ["y"] * 3
    )
    assert found == [1.0] * 3 and len(judge.asked) == 1


def test_both_orders_of_a_pair_are_asked_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remembered, "PIECE", 2)
    judge = Counting()
    inner = RememberedJudge(judge, Memory(tmp_path / "m"))
    ask_both_orders(inner, prompts(3), ["a", "bb", "ccc"], ["x", "y", "z"])
    assert judge.asked == [
        ("a", "x"), ("x", "a"), ("bb", "y"), ("y", "bb"), ("ccc", "z"), ("z", "ccc"),
    ]  # fmt: skip


def test_abstentions_are_asked_again(tmp_path: Path) -> None:
    judge = Counting()
    remembering = RememberedJudge(judge, Memory(tmp_path / "m"))
    for _ in range(2):
        assert math.isnan(remembering.compare(prompts(1), ["?"], ["y"])[0])
    assert len(judge.asked) == 2


def test_grades_are_remembered(tmp_path: Path) -> None:
    judge = Counting()
    for _ in range(2):
        grader = RememberedGrader(judge, Memory(tmp_path / "m"))
        assert grader.grade(prompts(2), ["one", "three"]) == [3.0, 5.0]
    assert len(judge.asked) == 2


@pytest.mark.parametrize("kept", [1, 20, 60, 100, 130])
def test_a_line_that_was_cut_short_loses_itself_alone(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "m.jsonl"
    memory = Memory(path)
    memory.add({"one": 1.0, "two": 2.0})
    memory.add({"three": [3.0]})
    path.write_bytes(path.read_bytes()[:kept])
    after = Memory(path)
    after.add({"four": 4.0})
    again = Memory(path)
    assert again["four"] == 4.0
    assert {n for n in ("one", "two", "three") if n in after} == {
        n for n in ("one", "two", "three") if n in again
    }


class FailsLater:
    """Answers so many questions, and then nobody is there."""

    name = "fails-later"

    def __init__(self, answers: int) -> None:
        self.left = answers
        self.asked: list[str] = []

    def complete(self, conversations: Any, **_: Any) -> list[ChatReply | ChatFailure]:
        found: list[ChatReply | ChatFailure] = []
        for conversation in conversations:
            self.left -= 1
            if self.left < 0:
                found.append(ChatFailure("unreachable", "gone"))
            else:
                self.asked.append(conversation[-1]["content"])
                found.append(ChatReply("A" if self.left % 2 else "who knows"))
        return found


def test_an_endpoint_that_went_down_is_not_paid_twice(tmp_path: Path) -> None:
    count = 2 * PIECE
    path = tmp_path / "m.jsonl"
    questions = prompts(count), ["x"] * count, ["y"] * count
    down, up = FailsLater(50), FailsLater(10**6)
    with pytest.raises(EndpointDown):
        EndpointJudge(RememberedClient(down, Memory(path))).compare(*questions)
    found = EndpointJudge(RememberedClient(up, Memory(path))).compare(*questions)
    assert len(found) == count
    assert len(down.asked) == 50
    assert not set(down.asked) & set(up.asked)  # nonsense is remembered as well


def test_another_temperature_is_another_question(tmp_path: Path) -> None:
    inner = FailsLater(100)
    client = RememberedClient(inner, Memory(tmp_path / "m"))
    for temperature in (0.0, 1.0, 0.0):
        client.complete(prompts(1), temperature=temperature, max_tokens=1)
    assert len(inner.asked) == 2
    for seed in (7, 8, 7):  # another draw of the same
        client.complete(prompts(1), temperature=1.0, max_tokens=1, seed=seed)
    assert len(inner.asked) == 4


def test_what_was_paid_for_is_counted_once_and_again_after_a_restart(tmp_path: Path) -> None:
    class Paid:
        name = "paid"
        calls = 0

        def complete(self, conversations: Any, **_: Any) -> list[ChatReply | ChatFailure]:
            Paid.calls += len(conversations)
            return [ChatReply("A", prompt_tokens=10, completion_tokens=2) for _ in conversations]

    path = tmp_path / "m.jsonl"
    for _ in range(2):
        client = RememberedClient(Paid(), Memory(path))
        for _ in range(3):
            client.complete(prompts(2), temperature=0.0, max_tokens=1)
        assert client.tokens == {"prompt_tokens": 20, "completion_tokens": 4}
    assert Paid.calls == 2


def test_whoever_asks_a_dead_endpoint_stops(tmp_path: Path) -> None:
    client = RememberedClient(FailsLater(10), Memory(tmp_path / "m"))
    with pytest.raises(EndpointDown, match="questions in a row"):
        WrittenRanker(client).rank(prompts(100), [["x", "y"]] * 100)


SILENT = ChatFailure("timeout", "slow")


def ask(client: RememberedClient, questions: Sequence[list[Message]]) -> list[Any]:
    return client.complete(questions, temperature=0.0, max_tokens=1)


def test_an_outage_at_the_end_of_a_call_is_one(tmp_path: Path) -> None:
    """Of 32 questions 20 are answered: nobody would ask the other 12 again."""
    path = tmp_path / "m.jsonl"
    with pytest.raises(EndpointDown, match="fails-later: 12 questions in a row.*unreachable: gone"):
        ask(RememberedClient(FailsLater(20), Memory(path)), prompts(32))
    back = FailsLater(100)
    assert len(ask(RememberedClient(back, Memory(path)), prompts(32))) == 32
    assert len(back.asked) == 12


def test_silence_goes_on_from_call_to_call(tmp_path: Path) -> None:
    client = RememberedClient(ScriptedClient(lambda *_: SILENT), Memory(tmp_path / "m"))
    for number in range(AT_THE_END - 1):
        assert ask(client, prompts(number + 1)[number:]) == [SILENT]
    with pytest.raises(EndpointDown, match=f"{AT_THE_END} questions in a row"):
        ask(client, prompts(AT_THE_END)[-1:])


def test_questions_that_never_have_an_answer_block_no_resumed_run(tmp_path: Path) -> None:
    def deaf(messages: Sequence[Message], _: int) -> ChatReply | ChatFailure:
        return SILENT if messages[0]["content"].endswith("0") else ChatReply("A")

    for is_known in (False, True):
        inner = ScriptedClient(deaf)
        found = ask(RememberedClient(inner, Memory(tmp_path / "m")), prompts(400))
        assert found.count(SILENT) == 40
        # Only these 40 are asked the second time, one after the other.
        assert len(inner.asked) == (40 if is_known else 400)


def test_a_call_whose_answers_are_all_known_ends_the_silence(tmp_path: Path) -> None:
    def some(messages: Sequence[Message], _: int) -> ChatReply | ChatFailure:
        return ChatReply("A") if messages[0]["content"] == "q0" else SILENT

    client = RememberedClient(ScriptedClient(some), Memory(tmp_path / "m"))
    ask(client, prompts(1))
    for place in (1, AT_THE_END):
        assert set(ask(client, prompts(20)[place : place + AT_THE_END - 1])) == {SILENT}
        ask(client, prompts(1))


def test_who_declines_is_there(tmp_path: Path) -> None:
    declined = ChatFailure("refused", "HTTP 400")
    client = RememberedClient(ScriptedClient(lambda *_: declined), Memory(tmp_path / "m"))
    assert ask(client, prompts(100)) == [declined] * 100


def test_what_came_before_an_error_is_kept(tmp_path: Path) -> None:
    class Breaks(ScriptedClient):
        def complete(self, conversations: Any, **options: Any) -> list[ChatReply | ChatFailure]:
            super().complete(conversations, **options)
            error = KeyboardInterrupt()
            error.replies = [ChatReply("A"), None, SILENT]  # type: ignore[attr-defined]
            raise error

    def answer(*_: Any) -> str:
        return "B"

    with pytest.raises(KeyboardInterrupt):
        ask(RememberedClient(Breaks(answer), Memory(tmp_path / "m")), prompts(3))
    inner = ScriptedClient(answer)
    found = ask(RememberedClient(inner, Memory(tmp_path / "m")), prompts(3))
    assert [reply.text for reply in found] == ["A", "B", "B"] and len(inner.asked) == 2


def test_nothing_more_is_asked_once_it_is_to_stop(tmp_path: Path) -> None:
    stop: list[bool] = []

    class Stopped(Counting):
        def compare(self, *pairs: Any) -> Any:
            stop.append(True)
            return super().compare(*pairs)

    judge, count = Stopped(), 2 * PIECE
    pairs = prompts(count), ["xx"] * count, ["y"] * count
    with pytest.raises(Interrupted, match="nothing is asked twice"):
        RememberedJudge(judge, Memory(tmp_path / "m", stop=stop)).compare(*pairs)
    assert len(judge.asked) == PIECE
    rest = Counting()
    assert RememberedJudge(rest, Memory(tmp_path / "m")).compare(*pairs) == [1.0] * count
    assert len(rest.asked) == PIECE
