"""Aids: what they are asked, what the judge sees of them, and that both orders are one debate."""

import math
import re
from collections.abc import Sequence
from typing import Any

import pytest

from accord.core.chat import ChatFailure
from accord.core.types import Message
from accord.judges.debate import AidedJudge, Critic, Debate
from accord.judges.endpoint_judge import EndpointJudge
from judges.scripted_client import ScriptedClient

PROMPT: list[Message] = [{"role": "user", "content": "What is 2 + 2?"}]


def sections(text: str) -> dict[str, str]:
    fence = text.split("The word is ")[1].split(".")[0]
    parts = text.split(f"{fence} ")[1:]
    return {part.split("\n")[0]: part.split("\n", 1)[-1].rstrip("\n") for part in parts}


def last(conversation: Sequence[Message]) -> str:
    return conversation[-1]["content"]


def test_a_critic_sees_one_response_at_a_time() -> None:
    client = ScriptedClient(lambda c, _: f"about {sections(last(c))['Response']}")
    found = Critic(client).remarks([PROMPT], ["four"], ["five"])
    assert found == [("about four", "about five")]
    assert all("Name the worst fault" in last(c) for c, _ in client.asked)


def advocate(conversation: Sequence[Message], _: int) -> str:
    text = last(conversation)
    heard = [title for title in sections(text) if " speech " in title]
    return f"for {sections(text)['Your response']}, having heard {len(heard)}"


def test_advocates_speak_in_turn_and_hear_each_other() -> None:
    client = ScriptedClient(advocate)
    (remarks,) = Debate(client, rounds=2).remarks([PROMPT], ["four"], ["five"])
    assert remarks is not None
    said = sorted(remark.split("\n\n") for remark in remarks)
    assert [[speech.split(", ")[0] for speech in side] for side in said] == [
        ["for five"] * 2,
        ["for four"] * 2,
    ]
    assert remarks[0].startswith("for four") and remarks[1].startswith("for five")
    heard = sorted(int(speech[-1]) for side in said for speech in side)
    assert heard == [0, 1, 2, 3]


def test_both_orders_are_one_debate() -> None:
    client = ScriptedClient(advocate)
    debate = Debate(client, rounds=1)
    ((first, second),) = debate.remarks([PROMPT], ["four"], ["five"])  # type: ignore[misc]
    asked = [conversation for conversation, _ in client.asked]
    assert debate.remarks([PROMPT], ["five"], ["four"]) == [(second, first)]
    assert [conversation for conversation, _ in client.asked[2:]] == asked


def test_the_judge_sees_remarks_beside_the_responses() -> None:
    def verdict(conversation: Sequence[Message], _: int) -> str:
        shown = sections(last(conversation))
        return "B" if "wrong" in shown["Remarks on Response A"] else "A"

    client = ScriptedClient(verdict)
    critic = Critic(
        ScriptedClient(lambda c, _: "wrong" if sections(last(c))["Response"] == "five" else "fine")
    )
    judge = AidedJudge(EndpointJudge(client), critic)
    assert judge.compare([PROMPT] * 2, ["four", "five"], ["five", "four"]) == [1.0, 0.0]
    assert "The remarks are by a critic, who may be mistaken" in last(client.asked[0][0])
    assert judge.name.endswith("with critic scripted")


def test_without_remarks_the_judge_abstains() -> None:
    silent = ScriptedClient(lambda *_: ChatFailure("server", "500"))
    for aid in (Critic(silent), Debate(silent)):
        judge = AidedJudge(EndpointJudge(ScriptedClient(lambda *_: "A")), aid)
        assert math.isnan(judge.compare([PROMPT], ["four"], ["five"])[0])
        assert judge.counts["unaided"] == 1


def test_a_debate_has_a_round() -> None:
    client: Any = None
    with pytest.raises(ValueError, match="one round"):
        Debate(client, rounds=0)


@pytest.mark.parametrize("pair", [("four", "five"), ("five", "six"), ("two", "one"), ("x", "y")])
def test_speeches_name_no_letter_and_know_no_fence_of_the_judge(pair: tuple[str, str]) -> None:
    speaking, judging = ScriptedClient(lambda *_: "Believe me."), ScriptedClient(lambda *_: "A")
    judge = AidedJudge(EndpointJudge(judging), Debate(speaking))
    judge.compare([PROMPT], [pair[0]], [pair[1]])
    heard = " ".join(last(conversation) for conversation, _ in speaking.asked)
    assert "Response A" not in heard and "Response B" not in heard
    fence = next(iter(re.findall(r"#[0-9a-f]{6,}", last(judging.asked[0][0]))))
    assert fence not in heard
