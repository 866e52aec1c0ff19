"""Apps: `NAME+APP` answers a conversation by an episode in an environment, over NAME's scheduler.

The server drives episodes itself, an action at a time, so that they share the model with all other
requests. What an environment adds to the conversation (passages, observations) is read by the
guards of the input before the policy reads it, and by those of the output before the client does;
so are actions, before they run.
"""

import contextlib
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from starlette.concurrency import run_in_threadpool

from accord.core.errors import ConfigError
from accord.core.interfaces import EnvironmentFactory
from accord.core.types import GeneratedToken, GenerationResult, PromptRow
from accord.environments.answers import majority
from accord.environments.episode import Episode, LoopLimits
from accord.environments.loop import answer_action
from accord.environments.opening import question_of
from accord.serving.chat import ChatAnswer
from accord.serving.generating import (
    Outcome,
    Piece,
    controls_of,
    gathered,
    seeds_of,
    spoken,
    temperature_of,
    together,
)
from accord.serving.protocol import ChatRequest
from accord.serving.refusals import ApiError
from accord.serving.served import Served

_LONGEST = 8192
"""Tokens of an episode where the model's config names no context."""
_NO_ANSWER = {
    "done": "the model came to no answer",
    "turns": "the actions that a question may take were used up before there was an answer",
    "context": "the model's context was full before there was an answer",
    "tokens": "max_tokens were used up before there was an answer",
}
"""By how an episode ended."""


@dataclass(frozen=True)
class App:
    """An environment that models are served in.

    `is_spoken` where its one action is the answer, word for word, and streamed as it comes;
    elsewhere the answer is what the environment reads out of the actions, and these are told aside.
    There `samples` episodes may vote on it.
    """

    name: str
    environments: EnvironmentFactory
    is_spoken: bool
    max_turns: int = 8
    max_action_tokens: int = 512
    """where the client does not say how long a spoken answer may be"""
    samples: int = 1

    def __post_init__(self) -> None:
        if self.max_turns < 1 or self.max_action_tokens < 1 or self.samples < 1:
            raise ConfigError(f"app {self.name}: expected at least one action, of one token, once")
        if self.is_spoken and self.samples > 1:
            raise ConfigError(f"app {self.name} says words, on which there is no vote")


class AppChat(ChatAnswer):
    """One request for answers by episodes; `n` of them, each by a seed of its own.

    `max_tokens` are for all actions of an episode together. `usage` counts the opening once, as of
    the prompt of several choices, and every observation and action of all episodes, those that
    vote included.

    Raises:
        AccordError: it cannot be answered.
    """

    def __init__(
        self, asked: ChatRequest, served: Served, *, name: str, created: int, app: App
    ) -> None:
        super().__init__(asked, served, name=name, created=created)
        self.app = app
        _refuse_foreign(asked)
        self.stops = [stop for stop in asked.stops if stop]
        self.row = PromptRow(tuple(self.messages))
        question_of(self.row)
        self.controls = controls_of(asked)
        self.longest = served.context or _LONGEST
        self.limits = self._limits()

    async def made(self) -> AsyncGenerator[Piece, None]:
        """See `ChatAnswer`."""
        samples, most = self.app.samples, self.served.scheduler.most_waiting
        if samples > 1 and self.count * samples > most:
            said = f"n: {self.count} choices of {samples} episodes each; at most {most} can run"
            raise ApiError(400, said, param="n")
        with self.served.places(self.count * samples):
            seeds = seeds_of(self.asked, self.count * samples)
            episodes = [await run_in_threadpool(self._opened, seed) for seed in seeds]
            await self._refuse(episodes)
            self.usage.prompt = len(episodes[0].prompt_ids)
            played = [
                self._voted(i, episodes[i * samples : (i + 1) * samples])
                if samples > 1
                else _Choice(self, i, episodes[i]).pieces()
                for i in range(self.count)
            ]
            async with contextlib.aclosing(together(played)) as found:
                async for piece in found:
                    yield piece

    async def _voted(self, index: int, episodes: Sequence[Episode]) -> AsyncGenerator[Piece, None]:
        """What most of them answer, as the first one that does says it."""
        played = [_Choice(self, i, episode).pieces() for i, episode in enumerate(episodes)]
        found = await gathered(together(played), len(played))
        vote = majority([piece.text for piece in found])
        chosen = next((piece for piece in found if piece.text == vote.answer), found[0])
        outcome = chosen.outcome
        if outcome is not None:
            told = {"share": vote.share, "counted": vote.counted, "skipped": vote.skipped}
            outcome = replace(outcome, shown={**outcome.shown, "vote": told})
        yield replace(chosen, index=index, outcome=outcome)

    def _limits(self) -> LoopLimits:
        """Of each episode; what an action may have is what the opening leaves room for."""
        action = min(self.app.max_action_tokens, self.longest // 2)
        if self.most:
            if self.most >= self.longest:
                raise self._too_long(f"a response of {self.most} was asked for")
            action = min(action, self.most)
        temperature = temperature_of(self.asked)
        if temperature == 0 and self.app.samples > 1:
            raise ApiError(
                400,
                f"{self.app.samples} answers vote here, which at temperature 0 are all the same",
                param="temperature",
            )
        return LoopLimits(self.app.max_turns, action, self.longest, temperature)

    def _opened(self, seed: int) -> Episode:
        """An episode at its beginning; searching for passages takes a while."""
        return Episode(
            self.app.environments(),
            self.row,
            self.served.encoder,
            self.limits,
            seed=seed,
            stops=self.stops if self.app.is_spoken else (),
        )

    async def _refuse(self, episodes: Sequence[Episode]) -> None:
        if any(episode.was_cut for episode in episodes):
            action = self.limits.max_action_tokens
            raise self._too_long(f"this conversation does not fit beside an answer of {action}")
        added = [m["content"] for e in episodes for m in e.prompt if m not in self.messages]
        if not await self.guards.let_in(list(dict.fromkeys(added))):
            raise ApiError(
                400,
                f"what {self.app.name} found for this was refused by a content filter",
                code="content_filter",
            )

    def _too_long(self, why: str) -> ApiError:
        return ApiError(
            400,
            f"this model's maximum context length is {self.longest} tokens; {why}",
            code="context_length_exceeded",
            param="messages",
        )


class _Choice:
    """One episode of a request."""

    def __init__(self, chat: AppChat, index: int, episode: Episode) -> None:
        self.chat, self.index, self.episode = chat, index, episode
        limits = episode.limits
        turns = 1 if chat.app.is_spoken else limits.max_turns
        self.left = chat.most or turns * limits.max_action_tokens
        self.action = ""
        self.is_cut = False

    async def pieces(self) -> AsyncGenerator[Piece, None]:
        """What the client is shown; the last one says how it ended."""
        while self.episode.ended is None and self.left:
            async with contextlib.aclosing(self._act()) as words:
                async for piece in words:
                    if self.chat.app.is_spoken:
                        yield piece
            aside = await self._answered()
            if aside is None:
                yield Piece(self.index, "", (), "content_filter")
                return
            if aside:
                yield Piece(self.index, "", (), aside=aside)
        yield await self._last()

    async def _act(self) -> AsyncGenerator[Piece, None]:
        """Text of the next action as it comes; at the end the episode has taken it."""
        asked = self.episode.request()
        most = min(asked.params.max_new_tokens, self.left)
        if self.chat.app.is_spoken:  # what the client wants, not what was kept free for it
            most = min(self.left, self.chat.longest - len(asked.prompt_ids))
        params = replace(asked.params, max_new_tokens=most)
        request = replace(asked, params=params, controls=self.chat.controls)
        served = self.chat.served
        (ticket,) = served.submit([request], has_place=True)
        tokens: list[GeneratedToken] = []
        try:
            async for piece in spoken(served, self.index, ticket, self.episode.stops):
                tokens += piece.tokens
                self.left -= len(piece.tokens)
                self.chat.usage.generated += len(piece.tokens)
                self.is_cut = piece.finish == "length"
                yield Piece(self.index, piece.text, ())
        finally:
            ticket.cancel()
        finish: Any = "length" if self.is_cut else "stop"
        self.action = self.episode.take(GenerationResult(asked.prompt_ids, tuple(tokens), finish))

    async def _answered(self) -> str | None:
        """Run the action; what is told aside of it, None where a guard refuses it."""
        guards, is_spoken = self.chat.guards, self.chat.app.is_spoken
        # What is spoken was read as it came.
        if not is_spoken and not await guards.let_out([self.action]):
            return None
        before = self.episode.observed
        await answer_action(self.episode, self.action)
        said = [message["content"] for message in self.episode.turns[-1].reply.observation]
        if not (await guards.let_in(said) and await guards.let_out(said)):
            return None
        self.chat.usage.prompt += self.episode.observed - before
        return "" if is_spoken else "\n".join([self.action.strip(), *said]) + "\n\n"

    async def _last(self) -> Piece:
        """How it ended, the answer where it was not spoken, and the passages that were used."""
        reply = self.episode.turns[-1].reply
        ended = self.episode.ended or "tokens"
        told = _told(reply.notes)
        passages = [f"{p['title']}: {p['text']}" for p in told.get("passages", [])]
        if not await self.chat.guards.let_out(passages):
            return Piece(self.index, "", (), "content_filter")
        actions = len(self.episode.turns)
        shown = {"name": self.chat.app.name, "ended": ended, "actions": actions, **told}
        if self.chat.app.is_spoken:
            finish = "length" if self.is_cut else "stop"
            return Piece(self.index, "", (), finish, outcome=Outcome(shown))
        answer = _before((ended == "done" and reply.answer) or "", self.chat.stops)
        if not answer and not self.left:  # an action without its end may say nothing
            ended = shown["ended"] = "tokens"
        outcome = Outcome(shown, None if answer else _NO_ANSWER[ended])
        return Piece(self.index, answer, (), "stop" if ended == "done" else "length", "", outcome)


def _refuse_foreign(asked: ChatRequest) -> None:
    """Fields that say something of the model's words, of which an app makes its own."""
    form = asked.response_format
    wrong = {
        "tools": asked.tools and "its tools are those that the server allows",
        "tool_choice": asked.tool_choice not in (None, "none", "auto") and "it has its own tools",
        "response_format": form and form.type != "text" and "its answers have their own form",
        "logprobs": asked.logprobs and "an answer need not be the model's own words",
    }
    for field, why in wrong.items():
        if why:
            raise ApiError(400, f"{asked.model} takes no {field}: {why}", param=field)


def _told(notes: Any) -> dict[str, Any]:
    """The passages that were read, by their numbers, where an environment notes any."""
    if "passages" not in notes:
        return {}
    cited = notes.get("cited", [])
    return {
        "passages": [
            {"number": n, "title": p.title, "text": p.text, "cited": n in cited}
            for n, p in enumerate(notes["passages"], start=1)
        ],
        "abstained": bool(notes.get("abstained")),
    }


def _before(text: str, stops: Sequence[str]) -> str:
    """The text up to the first stop."""
    found = [at for stop in stops if (at := text.find(stop)) >= 0]
    return text[: min(found)] if found else text
