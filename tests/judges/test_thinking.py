"""Reasons before the verdict: what is asked, what is clamped, and who is silent."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from accord.core.chat import ChatFailure, ChatReply
from accord.core.types import Message
from accord.engine.local import LocalEngine
from accord.engine.local_chat import LocalChat
from accord.judges.both_orders import ask_both_orders
from accord.judges.endpoint_judge import EndpointJudge
from accord.judges.log_prob_judge import LogProbJudge
from accord.judges.thinking import ThinkingJudge
from accord.judges.wording import PairWording
from judges.scripted_client import ScriptedClient

PROMPT: list[Message] = [{"role": "user", "content": "Which one?"}]


def shown_first(conversation: Sequence[Message]) -> str:
    text = conversation[0]["content"]
    return text.split(" Response A\n")[1].split("\n")[0]


def is_verdict(conversation: Sequence[Message]) -> bool:
    return len(conversation) == 3


def thinking(log_odds: float | None = None) -> tuple[ThinkingJudge, ScriptedClient]:
    """Prefers "good", by log-odds, or in words."""

    def answer(conversation: Sequence[Message], seed: int) -> Any:
        if not is_verdict(conversation):
            return f"The first says {shown_first(conversation)}."
        is_first = shown_first(conversation) == "good"
        if log_odds is None:
            return "A" if is_first else "B"
        p = 1 / (1 + math.exp(-log_odds if is_first else log_odds))
        return ChatReply("A", top_logprobs={"A": math.log(p), " B": math.log(1 - p)})

    client = ScriptedClient(answer)
    return ThinkingJudge(client, EndpointJudge(client)), client


@pytest.mark.parametrize(("log_odds", "p"), [(None, 0.6), (3.0, 0.6), (-3.0, 0.4), (0.2, None)])
def test_the_probability_is_clamped_and_symmetric(log_odds: float | None, p: float | None) -> None:
    judge, _ = thinking(log_odds)
    forth = ask_both_orders(judge, [PROMPT], ["good"], ["bad"]).judged()[0]
    back = ask_both_orders(judge, [PROMPT], ["bad"], ["good"]).judged()[0]
    expected = 1 / (1 + math.exp(-0.2)) if p is None else p
    assert forth == pytest.approx(expected, abs=1e-6)
    assert forth + back == pytest.approx(1, abs=1e-12)


def test_the_verdict_is_asked_with_the_reasons_in_sight() -> None:
    judge, client = thinking()
    judge.compare([PROMPT], ["good"], ["bad"])
    (first, options), (second, _) = client.asked
    assert "Before any verdict" in first[0]["content"] and options["max_tokens"] == 512
    assert second[:1] == first
    assert second[1] == {"role": "assistant", "content": "The first says good."}
    assert second[2]["content"].endswith("Answer with A or B alone.")


def test_who_gives_no_reasons_abstains() -> None:
    client = ScriptedClient(lambda c, _: "A" if is_verdict(c) else ChatFailure("server", "500"))
    judge = ThinkingJudge(client, EndpointJudge(client))
    assert math.isnan(judge.compare([PROMPT], ["good"], ["bad"])[0])
    assert judge.counts["speechless"] == 1 and len(client.asked) == 1


def test_a_local_model_reads_its_verdict_after_the_reasons(tiny_model_dir: Path) -> None:
    wording = PairWording(name="short", instruction="Judge.")
    reader = LogProbJudge(str(tiny_model_dir), device=torch.device("cpu"), wording=wording)
    judge = ThinkingJudge(
        ScriptedClient(lambda *_: "The first is longer."), reader, within=(0.0, 1.0)
    )
    (p,) = judge.compare([PROMPT], ["yes"], ["no"])
    (plain,) = reader.compare([PROMPT], ["yes"], ["no"])
    assert 0 < p < 1 and p != plain
    assert judge.name == f"{reader.name}, thinking"


def test_a_local_model_writes_its_reasons_itself(tiny_model_dir: Path) -> None:
    """The tiny model has nothing to say, and so abstains."""
    reader = LogProbJudge(str(tiny_model_dir), device=torch.device("cpu"))
    writer = LocalChat(str(tiny_model_dir), LocalEngine)
    judge = ThinkingJudge(writer, reader, max_tokens=4)
    assert math.isnan(judge.compare([PROMPT], ["yes"], ["no"])[0])
    assert writer.counts["answered"] == judge.counts["speechless"] == 1
