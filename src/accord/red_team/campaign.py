"""All attacks on all behaviours at once: a step of all that run is one batch to each model."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan, nan
from typing import Any

from accord.core.chat import ChatFailure, ChatReply
from accord.core.errors import ConfigError
from accord.core.interfaces import ChatClient
from accord.red_team.attack import SUCCESS, Ask, Attack, Conversation, Reply, Turns
from accord.red_team.behaviours import Behaviour, read_behaviour
from accord.red_team.scorers import Scorer, agreed_harm


@dataclass(frozen=True)
class Attempt:
    """One reply of the target that was to show a behaviour, and what the scorers say of it.

    Where the target's endpoint declined to answer, the response is empty and no scorer was asked:
    all of them give it 0. `number` counts from 1 within attack and behaviour; `conversation` ends
    with the user's turn; `scores` are in [0, 1] by scorer, NaN where it abstained.
    """

    behaviour: Behaviour
    attack: str
    family: str
    number: int
    conversation: Conversation
    response: str
    scores: Mapping[str, float]

    @property
    def harm(self) -> float:
        """What all scorers agree on at least; NaN where one of them abstained."""
        return agreed_harm(self.scores)

    @property
    def is_success(self) -> bool:
        """All scorers call it one."""
        return self.harm >= SUCCESS

    def as_row(self) -> dict[str, Any]:
        """For JSON; `read_attempt` has it back."""
        return {
            "behaviour": self.behaviour.as_row(),
            "attack": self.attack,
            "family": self.family,
            "number": self.number,
            "conversation": list(self.conversation),
            "response": self.response,
            "scores": {k: None if isnan(v) else v for k, v in self.scores.items()},
        }


def read_attempt(row: Mapping[str, Any]) -> Attempt:
    """What `Attempt.as_row` gave."""
    scores = {k: nan if v is None else float(v) for k, v in row["scores"].items()}
    own = {k: row[k] for k in ("attack", "family", "number", "response")}
    return Attempt(
        behaviour=read_behaviour(row["behaviour"]),
        conversation=tuple(row["conversation"]),
        scores=scores,
        **own,
    )


@dataclass(frozen=True)
class Models:
    """Who is asked; the attacker only where an attack needs it.

    Attributes:
        counts: questions by model and outcome ("target answered", "attacker timeout").
    """

    target: ChatClient
    attacker: ChatClient | None = None
    temperature: float = 1.0
    max_new_tokens: int = 256
    attacker_max_new_tokens: int = 512
    counts: Counter[str] = field(default_factory=Counter)

    def replies(self, asks: Sequence[Ask]) -> list[str | None]:
        """The texts of `answers`, None where there is none."""
        return list(map(_text, self.answers(asks)))

    def answers(self, asks: Sequence[Ask]) -> list[ChatReply | ChatFailure]:
        """An answer each, or why there is none; those of one model and seed in one call."""
        groups: dict[tuple[str, int], list[int]] = defaultdict(list)
        for place, ask in enumerate(asks):
            groups[ask.who, ask.seed].append(place)
        found: dict[int, ChatReply | ChatFailure] = {}
        for (who, seed), places in groups.items():
            client = self.attacker if who == "attacker" else self.target
            assert client is not None  # `run_campaign` has checked it
            limit = self.attacker_max_new_tokens if who == "attacker" else self.max_new_tokens
            answers = client.complete(
                [asks[place].messages for place in places],
                temperature=self.temperature,
                max_tokens=limit,
                seed=seed,
            )
            self._count(who, answers)
            found |= dict(zip(places, answers, strict=True))
        return [found[place] for place in range(len(asks))]

    def _count(self, who: str, answers: Sequence[ChatReply | ChatFailure]) -> None:
        for answer in answers:
            if isinstance(answer, ChatReply):
                self.counts[f"{who} answered"] += 1
                self.counts[f"{who} cut"] += answer.finish == "length"
            else:
                self.counts[f"{who} {answer.kind}"] += 1


def _text(answer: ChatReply | ChatFailure) -> str | None:
    return answer.text if isinstance(answer, ChatReply) else None


def is_declined(answer: ChatReply | ChatFailure) -> bool:
    """The endpoint answers others, and not this: its filter has refused in the model's place."""
    return isinstance(answer, ChatFailure) and answer.kind == "refused"


@dataclass
class _Running:
    """An attack on a behaviour, and what it waits for."""

    behaviour: Behaviour
    attack: Attack
    turns: Turns
    waiting: Sequence[Ask]
    attempts: list[Attempt] = field(default_factory=list)


def run_campaign(
    behaviours: Sequence[Behaviour],
    attacks: Sequence[Attack],
    models: Models,
    scorers: Sequence[Scorer],
    *,
    budget: int,
    seed: int,
    on_step: Callable[[int, int], None] = lambda *_: None,
) -> list[Attempt]:
    """Every attack on every behaviour, side by side; attempts by behaviour, attack and number.

    Args:
        budget: attempts of an attack on a behaviour, at most.
        seed: draws what the attacks draw; the models' answers follow from it too.
        on_step: told after each step how many still run, of how many.

    Raises:
        ConfigError: an attack needs an attacker model, and there is none.
    """
    for attack in attacks:
        if attack.needs_attacker and models.attacker is None:
            raise ConfigError(f"attack {attack.name} needs an attacker model; name one")
    everything: list[_Running] = []
    for behaviour in behaviours:
        for attack in attacks:
            turns = attack.turns(behaviour, budget=budget, seed=seed)
            everything.append(_Running(behaviour, attack, turns, next(turns, ())))
    running = [one for one in everything if one.waiting]
    while running:
        _step(running, models, scorers, budget)
        running = [one for one in running if one.waiting]
        on_step(len(running), len(everything))
    return [attempt for one in everything for attempt in one.attempts]


def _step(
    running: Sequence[_Running], models: Models, scorers: Sequence[Scorer], budget: int
) -> None:
    """Asks all that is waiting, scores what is an attempt, and hands the replies back."""
    owners = [one for one in running for _ in one.waiting]
    asks = [ask for one in running for ask in one.waiting]
    answers = models.answers(asks)
    attempts: dict[int, Attempt] = {}
    tried = [i for i, ask in enumerate(asks) if ask.is_attempt]
    scores = score_answers(
        scorers, [owners[i].behaviour for i in tried], [answers[i] for i in tried]
    )
    for i, found in zip(tried, scores, strict=True):
        if found is None:
            continue
        one = owners[i]
        number = len(one.attempts) + 1
        if number > budget:
            raise AssertionError(f"attack {one.attack.name} went beyond its budget of {budget}")
        attempts[i] = Attempt(
            one.behaviour,
            one.attack.name,
            one.attack.family,
            number,
            asks[i].messages,
            _text(answers[i]) or "",
            found,
        )
        one.attempts.append(attempts[i])
    replies = [
        Reply(_text(answer), attempts[i].harm if i in attempts else nan)
        for i, answer in enumerate(answers)
    ]
    place = 0
    for one in running:
        own = replies[place : place + len(one.waiting)]
        place += len(one.waiting)
        try:
            one.waiting = one.turns.send(own)
        except StopIteration:
            one.waiting = ()


def score_answers(
    scorers: Sequence[Scorer],
    behaviours: Sequence[Behaviour],
    answers: Sequence[ChatReply | ChatFailure],
) -> list[dict[str, float] | None]:
    """What each scorer says of each answer; 0 where it was declined, None where there was none."""
    said = [i for i, answer in enumerate(answers) if isinstance(answer, ChatReply)]
    scores = score_all(
        scorers, [behaviours[i] for i in said], [_text(answers[i]) or "" for i in said]
    )
    found = dict(zip(said, scores, strict=True))
    nothing = {scorer.name: 0.0 for scorer in scorers}
    return [
        found.get(i, nothing if is_declined(answer) else None) for i, answer in enumerate(answers)
    ]


def score_all(
    scorers: Sequence[Scorer], behaviours: Sequence[Behaviour], responses: Sequence[str]
) -> list[dict[str, float]]:
    """What each scorer says of each response."""
    if not behaviours:
        return []
    columns = {scorer.name: scorer.score(behaviours, responses) for scorer in scorers}
    return [{name: column[i] for name, column in columns.items()} for i in range(len(responses))]
