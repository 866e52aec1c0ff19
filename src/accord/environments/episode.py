"""One episode in token ids: the policy's as they were sampled, observations between them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from accord.core.episodes import Reply, Rollout
from accord.core.errors import ConfigError
from accord.core.interfaces import Environment
from accord.core.types import (
    GenerationRequest,
    GenerationResult,
    Message,
    PromptRow,
    SamplingParams,
)
from accord.corpora.encoding import ChatEncoder

End = Literal["done", "turns", "context"]
"""Why an episode ended: the environment said so; its turns were used up; the next action, or the
observation before it, did not fit."""


@dataclass(frozen=True)
class LoopLimits:
    """How long an episode may be; lengths in tokens."""

    max_turns: int
    """actions"""
    max_action_tokens: int
    max_length: int
    """prompt, actions and observations together"""
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.max_turns < 1 or not 1 <= self.max_action_tokens < self.max_length:
            raise ConfigError(
                "expected at least one turn, and an action of 1 token or more that is shorter than "
                f"max_length, got {self}"
            )


@dataclass(frozen=True)
class Turn:
    """An action in the words that the environment read, and the answer to it."""

    action: str
    reply: Reply


@dataclass(frozen=True)
class Played:
    """A finished episode; `was_cut` where the prompt lost its start to fit."""

    row: PromptRow
    prompt: tuple[Message, ...]
    turns: tuple[Turn, ...]
    rollout: Rollout
    ended: End
    was_cut: bool

    @property
    def answer(self) -> str | None:
        """The environment's last word on what the answer is."""
        return self.turns[-1].reply.answer

    def noted(self, name: str) -> list[object]:
        """The notes of that name of all turns that have one."""
        return [turn.reply.notes[name] for turn in self.turns if name in turn.reply.notes]


class Episode:
    """An episode as it grows; whoever drives it alternates `request`, `take` and `answer`.

    Token in, token out: nothing that was sampled is encoded again. An action that was stopped
    before its end of turn has that written after it, as a token that the policy did not choose.
    `stops` end an action beside the environment's own.
    """

    def __init__(
        self,
        environment: Environment,
        row: PromptRow,
        encoder: ChatEncoder,
        limits: LoopLimits,
        *,
        seed: int,
        stops: Sequence[str] = (),
    ) -> None:
        self.row, self.encoder, self.limits, self.seed = row, encoder, limits, seed
        self.environment = environment
        self.stops = (*environment.stops, *stops)
        room = limits.max_length - limits.max_action_tokens

        def fits(messages: Sequence[Message]) -> bool:
            return len(encoder.encode_prompt(messages)) <= room

        self.messages: list[Message] = list(environment.reset(row, fits))
        self.prompt = tuple(self.messages)
        whole = encoder.encode_prompt(self.messages)
        self.was_cut = len(whole) > room
        self.prompt_ids = whole[-room:]
        self.turns: list[Turn] = []
        self.ended: End | None = None
        self._ids: list[int] = []
        self._mask: list[bool] = []
        self._logprobs: list[float] = []
        self._last_finished = False

    @property
    def observed(self) -> int:
        """Tokens that were written between and after actions."""
        return self._mask.count(False)

    def request(self) -> GenerationRequest:
        """What the engine should continue for the next action."""
        room = self.limits.max_length - len(self.prompt_ids) - len(self._ids)
        length = min(self.limits.max_action_tokens, room)
        own = np.random.SeedSequence([self.seed, len(self.turns)])
        return GenerationRequest(
            (*self.prompt_ids, *self._ids),
            SamplingParams(length, self.limits.temperature),
            int(own.generate_state(1, dtype=np.uint64)[0]),
        )

    def take(self, result: GenerationResult) -> str:
        """Keep an action's tokens, up to its first stop; returns its text, without that."""
        tokens = list(result.tokens)
        text, stop = self._text(result.response_ids)
        self._last_finished = result.finish == "stop"
        if stop is not None:
            tokens = tokens[: self._shortest_with(stop, result.response_ids)]
            self._last_finished = True
        self._ids += [token.token_id for token in tokens]
        self._logprobs += [token.logprob for token in tokens]
        self._mask += [True] * len(tokens)
        self.messages.append(Message(role="assistant", content=text))
        return text

    def answer(self, reply: Reply) -> None:
        """Append the environment's answer to the last action, or end the episode."""
        self.turns.append(Turn(self.messages[-1]["content"], reply))
        if reply.is_done:
            self.ended = "done"
            return
        if len(self.turns) == self.limits.max_turns:
            self.ended = "turns"
            return
        self.messages += reply.observation
        turn_ended = self._ids[-1] == self.encoder.end_of_turn_id
        ids = self.encoder.encode_observation(
            self.messages, len(reply.observation), turn_ended=turn_ended
        )
        if len(self.prompt_ids) + len(self._ids) + len(ids) >= self.limits.max_length:
            self.ended = "context"
            return
        self._ids += ids
        self._mask += [False] * len(ids)
        self._logprobs += [0.0] * len(ids)

    def played(self) -> Played:
        """The finished episode. Its last token is one that the policy chose."""
        assert self.ended is not None
        rollout = Rollout(
            prompt_ids=self.prompt_ids,
            response_ids=tuple(self._ids),
            response_mask=tuple(self._mask),
            old_logprobs=tuple(self._logprobs),
            finished=self.ended == "done" and self._last_finished,
            score=sum(turn.reply.reward for turn in self.turns),
            ended=self.ended,
        )
        return Played(self.row, self.prompt, tuple(self.turns), rollout, self.ended, self.was_cut)

    def _text(self, ids: Sequence[int]) -> tuple[str, str | None]:
        """The text before the first stop, and that stop."""
        text = self.encoder.decode(ids)
        found = [(at, stop) for stop in self.stops if (at := text.find(stop)) >= 0]
        if not found:
            return text, None
        at, stop = min(found)
        return text[:at], stop

    def _shortest_with(self, stop: str, ids: Sequence[int]) -> int:
        """The fewest tokens whose text holds the stop."""
        low, high = 1, len(ids)
        while low < high:
            middle = (low + high) // 2
            if stop in self.encoder.decode(ids[:middle]):
                high = middle
            else:
                low = middle + 1
        return low
