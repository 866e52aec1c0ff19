"""Attacks that need more than one turn, or many made-up ones, and no attacker model."""

import tomllib
from functools import cache
from random import Random

from accord.core.types import Message
from accord.red_team.attack import Ask, Conversation, Reply, Turns, said
from accord.red_team.behaviours import ASSET, Behaviour, shipped_behaviours

MOST_SHOTS = 64


class ManyShot:
    """Invented turns in which the assistant did as it was asked, then the request.

    Source: Anil et al. 2024, "Many-shot jailbreaking". The turns are of behaviours that ship, so
    nothing in them helps anybody; the number of them doubles with each attempt, from 4 on.
    """

    name = family = "many_shot"
    needs_attacker = False

    def turns(self, behaviour: Behaviour, *, budget: int, seed: int) -> Turns:
        """4, 8, 16 ... turns, up to the most that there are."""
        rng = Random(f"{seed}/{behaviour.id}")
        examples = [b for b in shipped_behaviours() if b.text != behaviour.text]
        counts = [4 * 2**attempt for attempt in range(budget)]
        asks = []
        for count in [c for c in counts if c <= MOST_SHOTS]:
            drawn = [rng.choice(examples) for _ in range(count)]
            shown = [text for b in drawn for text in (b.text, str(b.columns["compliance"]))]
            asks.append(Ask(said(*shown, behaviour.text), seed=seed))
        yield asks


class Escalation:
    """Harmless questions that lead up to the request, each answered by the target itself."""

    name = "escalation"
    family = "multi_turn"
    needs_attacker = False

    def turns(self, behaviour: Behaviour, *, budget: int, seed: int) -> Turns:
        """A ladder an attempt, all climbed side by side; a rung without an answer is taken back."""
        rungs = [
            [rung.replace("{request}", behaviour.text) for rung in ladder]
            for ladder in list(ladders().values())[:budget]
        ]
        climbed: list[Conversation] = [()] * len(rungs)
        for step in range(max(map(len, rungs), default=0)):
            moving = [i for i, ladder in enumerate(rungs) if step < len(ladder)]
            asks = [
                Ask(
                    (*climbed[i], Message(role="user", content=rungs[i][step])),
                    seed=seed,
                    is_attempt=step == len(rungs[i]) - 1,
                )
                for i in moving
            ]
            replies = yield asks
            for i, ask, reply in zip(moving, asks, replies, strict=True):
                climbed[i] = _answered(ask, reply)


@cache
def ladders() -> dict[str, list[str]]:
    """Turns by the ladder's name, the request last; `{request}` stands for it."""
    return dict(tomllib.loads((ASSET / "templates.toml").read_text("utf-8"))["ladder"])


def _answered(ask: Ask, reply: Reply) -> Conversation:
    if reply.text is None:
        return ask.messages[:-1]
    return (*ask.messages, Message(role="assistant", content=reply.text))
