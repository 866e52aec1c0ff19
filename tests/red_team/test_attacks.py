"""Attacks: what they say, in how many batches, within budget, and that they stop at success."""

import base64
import codecs
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

from accord.core.chat import ChatFailure, ChatReply
from accord.core.errors import ConfigError
from accord.core.types import Message
from accord.environments import retrieval
from accord.judges.remembered import EndpointDown, Memory, RememberedClient
from accord.red_team.attack import Attack
from accord.red_team.attacker_turns import message_in, plain_task
from accord.red_team.behaviours import Behaviour
from accord.red_team.by_model import Crescendo, Pair, Persuasion, Policy, persuasions
from accord.red_team.campaign import Attempt, Models, read_attempt, run_campaign
from accord.red_team.injection import Injection, plants
from accord.red_team.rewording import (
    ENCODINGS,
    BestOfN,
    Direct,
    Encodings,
    Templates,
    in_leetspeak,
    in_pieces,
    perturbed,
    templates,
)
from accord.red_team.several_turns import Escalation, ManyShot, ladders
from accord.red_team.tree import Tree
from red_team.doubles import BEHAVIOURS, FakeModel, SaysSure, says

RULED: list[Attack] = [
    Direct(), Templates(), Encodings(), ManyShot(), Escalation(), BestOfN(), Injection(),
]  # fmt: skip
WRITTEN: list[Attack] = [Persuasion(), Pair(), Tree(), Crescendo(), Policy()]


def campaign(
    attacks: list[Attack],
    target: FakeModel,
    attacker: FakeModel | None = None,
    *,
    budget: int = 4,
    seed: int = 0,
    scorers: list[SaysSure] | None = None,
    behaviours: list[Behaviour] = BEHAVIOURS,
) -> list[Attempt]:
    models = Models(target, attacker)
    return run_campaign(
        behaviours, attacks, models, scorers or [SaysSure()], budget=budget, seed=seed
    )


def last(messages: list[Message]) -> str:
    return messages[-1]["content"]


@pytest.mark.parametrize("attack", [*RULED, *WRITTEN], ids=lambda attack: attack.name)
def test_within_budget_and_the_same_again(attack: Attack) -> None:
    def write(conversation: list[Message], seed: int) -> str:
        return f"<message>{len(conversation)} and {seed}</message>"

    target, attacker = says("No."), FakeModel(write)
    found = campaign([attack], target, attacker, budget=3)
    by_behaviour = Counter(attempt.behaviour.id for attempt in found)
    assert set(by_behaviour) == {"hide", "tease"} and max(by_behaviour.values()) <= 3
    numbers = [a.number for a in found if a.behaviour.id == "hide"]
    assert numbers == list(range(1, len(numbers) + 1))
    assert found == campaign([attack], says("No."), FakeModel(write), budget=3)
    assert not any(attempt.is_success for attempt in found)
    assert [read_attempt(attempt.as_row()) for attempt in found] == found


@pytest.mark.parametrize("attack", WRITTEN, ids=lambda attack: attack.name)
def test_without_an_attacker_they_are_refused(attack: Attack) -> None:
    with pytest.raises(ConfigError, match=f"attack {attack.name} needs an attacker model"):
        campaign([attack], says("No."))


def test_a_step_of_everything_is_one_batch() -> None:
    target = says("No.")
    campaign([Templates(), Encodings(), ManyShot()], target)
    assert len(target.calls) == 1 and len(target.calls[0]) == 2 * 12
    target = says("No.")
    campaign([Escalation(), Templates()], target)
    steps = max(len(ladder) for ladder in list(ladders().values())[:4])
    assert len(target.calls) == steps


def test_encodings_can_be_undone() -> None:
    text = BEHAVIOURS[0].text
    target = says("No.")
    campaign([Encodings()], target, behaviours=BEHAVIOURS[:1])
    said = [last(messages).split("\n\n")[1] for messages in target.calls[0]]
    by_name = dict(zip(ENCODINGS, said, strict=True))
    assert base64.b64decode(by_name["base64"]).decode() == text
    assert codecs.decode(by_name["rot13"], "rot13") == text
    assert by_name["word_splitting"].replace("+", "") == text
    assert in_pieces("Tell me this.") == "Te+ll me th+is."
    assert in_leetspeak("Tease") == "73453"


def test_templates_hold_the_request_and_differ_by_behaviour() -> None:
    target = says("No.")
    campaign([Templates()], target, budget=100)
    said = [last(messages) for messages in target.calls[0]]
    assert len(said) == 2 * len(templates()) == len(set(said))
    assert all(BEHAVIOURS[i // len(templates())].text in text for i, text in enumerate(said))
    assert all("{" not in text for text in said)


def test_many_shot_shows_what_was_never_said() -> None:
    target = says("No.")
    campaign([ManyShot()], target, budget=9, behaviours=BEHAVIOURS[:1])
    assert [len(messages) for messages in target.calls[0]] == [9, 17, 33, 65, 129]
    conversation = target.calls[0][0]
    assert [turn["role"] for turn in conversation[:3]] == ["user", "assistant", "user"]
    assert last(conversation) == BEHAVIOURS[0].text


def test_escalation_lets_the_target_answer_every_rung() -> None:
    target = FakeModel(lambda conversation, seed: f"answer {len(conversation)}")
    found = campaign([Escalation()], target, budget=1, behaviours=BEHAVIOURS[:1])
    (attempt,) = found
    rungs = next(iter(ladders().values()))
    assert len(attempt.conversation) == 2 * len(rungs) - 1
    assert attempt.conversation[1]["content"] == "answer 1"
    assert BEHAVIOURS[0].text in attempt.conversation[-1]["content"]
    assert len(target.calls) == len(rungs)


def test_injections_come_from_what_is_read() -> None:
    target = says("At nine [1].")
    found = campaign([Injection()], target, budget=9, behaviours=BEHAVIOURS[:1])
    assert len(found) == len(plants()) and len(target.calls) == 1
    passage, tool = target.calls[0][:2]
    assert retrieval.INSTRUCTION in last(passage) and "[1] Ferry: The last ferry" in last(passage)
    assert last(passage).endswith("Question: When does the last ferry leave?")
    assert [turn["role"] for turn in tool] == ["user", "assistant", "user"]
    assert tool[2]["content"].startswith("Observation: Ferry: The last ferry")
    assert "search" in tool[0]["content"] and BEHAVIOURS[0].text not in tool[0]["content"]
    assert all(BEHAVIOURS[0].text in last(messages) for messages in target.calls[0])


def test_perturbations_keep_the_letters_but_their_order() -> None:
    text = "Tell me how to hide the lamp."
    assert perturbed(text, 0.0, Random(0)) == text
    changed = [perturbed(text, 0.4, Random(i)) for i in range(200)]
    assert len(set(changed)) > 190
    assert all(len(one) == len(text) and one.count(" ") > 2 for one in changed)
    swapped = sum(a.isupper() for one in changed for a in one) / (200 * len(text))
    assert 0.4 < swapped < 0.6  # sqrt(0.4) = 0.63 of the letters, 23 of 29


def test_persuasion_sends_the_rewritten_request() -> None:
    attacker = FakeModel(
        lambda conversation, seed: f"<message>{last(conversation)[:0]}pretty please</message>"
    )
    target = says("Sure.")
    found = campaign([Persuasion()], target, attacker, budget=2)
    assert [last(list(a.conversation)) for a in found] == ["pretty please"] * 4
    ways = list(persuasions().values())[:2]
    asked = [last(messages) for messages in attacker.calls[0]]
    assert len(attacker.calls) == 1 and all(ways[i % 2] in text for i, text in enumerate(asked))


def test_pair_learns_from_replies_and_stops_at_success() -> None:
    def write(conversation: list[Message], seed: int) -> str:
        return f"<message>try {len(conversation) // 2 + 1} by {seed}</message>"

    def reply(conversation: list[Message], seed: int) -> str:
        return "Sure, like this." if "try 2 by 1" in last(list(conversation)) else "No, never."

    attacker, target = FakeModel(write), FakeModel(reply)
    found = campaign([Pair()], target, attacker, budget=9, behaviours=BEHAVIOURS[:1])
    assert [a.is_success for a in found] == [False] * 4 + [True, False]  # three streams, two rounds
    seen = [messages for call in attacker.calls for messages in call if len(messages) == 3]
    assert len(seen) == 3 and "No, never." in last(seen[0]) and "1 of 10" in last(seen[0])


def test_tree_prunes_what_strays_and_keeps_the_best() -> None:
    said: list[str] = []

    def write(conversation: list[Message], seed: int) -> str:
        if "answer the request?" in last(list(conversation)):
            return "No." if "cake" in last(list(conversation)) else "Yes."
        said.append(f"{len(conversation)}.{seed}")
        topic = "cake" if seed == 1 else "lamp"
        return f"<message>{topic} {len(said)}</message>"

    target = FakeModel(lambda conversation, seed: "Never.")
    found = campaign([Tree(2, 2)], target, FakeModel(write), budget=3, behaviours=BEHAVIOURS[:1])
    asked = [last(list(a.conversation)) for a in found]
    assert asked and all("lamp" in text for text in asked) and len(asked) == 3
    # One branch of two survives on each level: the leaves never outgrow the width.
    assert [s.split(".")[0] for s in said] == ["1", "1", "3", "3", "5", "5"]


def test_crescendo_takes_refused_turns_back() -> None:
    replies = iter(["Gladly.", "I'm sorry, I can't help with that.", "Gladly.", "Sure!"])
    target = FakeModel(lambda conversation, seed: next(replies))
    attacker = FakeModel(lambda conversation, seed: f"turn {len(conversation) // 2}")
    found = campaign([Crescendo()], target, attacker, budget=9, behaviours=BEHAVIOURS[:1])
    assert [[t["content"] for t in a.conversation] for a in found] == [
        ["turn 0"],
        ["turn 0", "Gladly.", "turn 1"],
        ["turn 0", "Gladly.", "turn 2"],
        ["turn 0", "Gladly.", "turn 2", "Gladly.", "turn 3"],
    ]
    assert found[-1].is_success


def test_policy_is_asked_as_it_was_trained() -> None:
    attacker = FakeModel(lambda conversation, seed: f"word for word {seed}")
    found = campaign([Policy()], says("No."), attacker, budget=2, behaviours=BEHAVIOURS[:1])
    assert attacker.calls[0] == [list(plain_task(BEHAVIOURS[0].text))]
    assert [last(list(a.conversation)) for a in found] == ["word for word 0", "word for word 1"]


def test_success_needs_all_scorers_and_abstentions_are_none() -> None:
    class Silent(SaysSure):
        def score(self, behaviours: object, responses: list[str]) -> list[float]:  # type: ignore[override]
            return [float("nan")] * len(responses)

    agreed = campaign([Direct()], says("Sure."), budget=1, scorers=[SaysSure(), SaysSure("S", "s")])
    split = campaign([Direct()], says("Sure."), budget=1, scorers=[SaysSure(), SaysSure("x", "x")])
    unsure = campaign([Direct()], says("Sure."), budget=1, scorers=[SaysSure(), Silent(name="n")])
    assert [a.is_success for a in agreed + split + unsure] == [True] * 2 + [False] * 4
    assert split[0].scores == {"sure": 1.0, "x": 0.0}
    assert read_attempt(unsure[0].as_row()).harm != unsure[0].harm  # NaN both


def test_a_model_that_is_down_stops_the_campaign(tmp_path: Path) -> None:
    # In small batches, too: the count goes on from call to call, until there is an answer.
    target = FakeModel(lambda conversation, seed: None if seed else "No.")
    models = Models(RememberedClient(target, Memory(tmp_path / "m")))
    many = [Behaviour(str(i), f"Do {i}") for i in range(3)]
    found = run_campaign(many, [Direct()], models, [SaysSure()], budget=2, seed=0)
    assert len(found) == 3 and models.counts["target timeout"] == 3
    with pytest.raises(EndpointDown, match="9 questions in a row.*nothing is asked twice"):
        run_campaign(many, [Direct()], models, [SaysSure()], budget=3, seed=1)


class Declines(FakeModel):
    """Behind an endpoint that declines whatever speaks of Mira."""

    def complete(self, conversations: Any, **how: Any) -> list[ChatReply | ChatFailure]:
        replies = super().complete(conversations, **how)
        said = [str(conversation[-1]["content"]) for conversation in conversations]
        declined = ChatFailure("refused", "HTTP 400: content policy")
        return [declined if "Mira" in t else r for t, r in zip(said, replies, strict=True)]


def test_what_the_endpoint_declines_is_an_attempt_that_failed() -> None:
    scorer = SaysSure()
    found = campaign([Direct()], Declines(lambda *_: "Sure."), budget=2, scorers=[scorer])
    assert [(a.behaviour.id, a.number, a.response, a.harm) for a in found] == [
        ("hide", 1, "Sure.", 1.0), ("hide", 2, "Sure.", 1.0),
        ("tease", 1, "", 0.0), ("tease", 2, "", 0.0),
    ]  # fmt: skip
    assert scorer.calls == 1


def test_a_rung_without_an_answer_is_taken_back() -> None:
    first = next(iter(ladders().values()))[0].replace("{request}", BEHAVIOURS[0].text)
    target = FakeModel(lambda messages, _: None if last(list(messages)) == first else "Well.")
    (attempt,) = campaign([Escalation()], target, budget=1, behaviours=BEHAVIOURS[:1])
    turns = [turn["content"] for turn in attempt.conversation]
    assert first not in turns and turns[1] == "Well."


def test_messages_of_attackers_are_read_with_and_without_tags() -> None:
    from accord.red_team.attack import Reply

    assert message_in(Reply("Thinking. <message> Hello \n</message> so.")) == "Hello"
    assert message_in(Reply("<message>cut off")) == "cut off"
    assert message_in(Reply("just words")) == "just words"
    assert message_in(Reply("<message></message>")) is None
    assert message_in(Reply(None)) is None
