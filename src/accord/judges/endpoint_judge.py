"""Judges behind a chat endpoint: verdicts from log-probs where there are some, else from text."""

import math
from collections import Counter
from collections.abc import Callable, Sequence

from accord.core.chat import ChatFailure, ChatReply
from accord.core.interfaces import ChatClient
from accord.core.types import Message, Row
from accord.judges.verdicts import grade_verdict, pair_verdict
from accord.judges.wording import GradeWording, PairWording, Wording, transcript

AT_ONCE = 32
"""Questions of one call: that log-probs are declined is learned from the first few."""

Conversation = list[Message]


class _Asking:
    """Puts questions, asks again once where the answer says nothing, and counts all of it."""

    def __init__(
        self, client: ChatClient, max_tokens: int, top_logprobs: int, votes: int = 0
    ) -> None:
        self.client = client
        self.max_tokens = max_tokens
        self.top_logprobs = top_logprobs
        self.votes = votes
        self.counts: Counter[str] = Counter()

    def verdicts(
        self,
        questions: Sequence[Conversation],
        read: Callable[[ChatReply], float | None],
        options: Sequence[str],
        prior: Sequence[float] = (),
    ) -> list[float]:
        """A number each; NaN where the judge abstained. `prior` are votes beside the sampled."""
        replies = self._ask(questions)
        found = [math.nan if reply is None else self._read(reply, read) for reply in replies]
        if self.votes:
            mute = [i for i, r in enumerate(replies) if r is not None and not r.top_logprobs]
            shares = self._share([questions[i] for i in mute], read, prior)
            for i, share in zip(mute, shares, strict=True):
                found[i] = share
        silent = [i for i, value in enumerate(found) if value is None]
        self.counts["nonsense"] += len(silent)
        again = self._ask([_reminded(questions[i], options) for i in silent])
        for i, reply in zip(silent, again, strict=True):
            found[i] = None if reply is None else self._read(reply, read)
        values = [math.nan if value is None else value for value in found]
        self.counts["judged"] += len(values)
        self.counts["abstained"] += sum(map(math.isnan, values))
        return values

    def _share(
        self,
        questions: Sequence[Conversation],
        read: Callable[[ChatReply], float | None],
        prior: Sequence[float],
    ) -> list[float | None]:
        """Means over sampled verdicts; None where none of the samples says anything."""
        votes: list[list[float]] = [[] for _ in questions]
        for seed in range(1, self.votes + 1):
            replies = self._ask(questions, temperature=1.0, seed=seed)
            for said, reply in zip(votes, replies, strict=True):
                verdict = None if reply is None else self._read(reply, read)
                said += [] if verdict is None else [verdict]
        self.counts["votes"] += sum(map(len, votes))
        return [
            (sum(said) + sum(prior)) / (len(said) + len(prior)) if said else None for said in votes
        ]

    def _read(self, reply: ChatReply, read: Callable[[ChatReply], float | None]) -> float | None:
        value = read(reply)
        self.counts["cut"] += reply.finish == "length" and value is None
        return value

    def _ask(
        self, questions: Sequence[Conversation], *, temperature: float = 0.0, seed: int = 0
    ) -> list[ChatReply | None]:
        """None where there is no answer."""
        found: list[ChatReply | None] = []
        # The first few tell whether log-probs are declined.
        for piece in filter(None, (questions[:AT_ONCE], questions[AT_ONCE:])):
            top = 0 if temperature else self.top_logprobs
            replies = self._complete(piece, temperature, seed, top)
            if top and all(isinstance(r, ChatFailure) and r.kind == "refused" for r in replies):
                # Some endpoints know no log-probs, and decline whatever asks for them.
                replies = self._complete(piece, temperature, seed, 0)
                if any(isinstance(r, ChatReply) for r in replies):
                    self.top_logprobs = 0
            for reply in replies:
                if isinstance(reply, ChatFailure):
                    self.counts[reply.kind] += 1
                found.append(reply if isinstance(reply, ChatReply) else None)
        return found

    def _complete(
        self, piece: Sequence[Conversation], temperature: float, seed: int, top_logprobs: int
    ) -> list[ChatReply | ChatFailure]:
        return self.client.complete(
            piece,
            temperature=temperature,
            max_tokens=self.max_tokens,
            top_logprobs=top_logprobs,
            seed=seed,
        )


class EndpointJudge:
    """A `PairJudge` behind a `ChatClient`.

    Attributes:
        counts: pairs that were "judged", and those on which it "abstained"; first answers that were
            "nonsense" (asked again once), sampled "votes", answers that were "cut" before a
            verdict, and questions without an answer, by `ChatFailure.kind`.
    """

    def __init__(
        self,
        client: ChatClient,
        *,
        wording: Wording | None = None,
        max_tokens: int = 16,
        top_logprobs: int = 20,
        votes: int = 0,
    ) -> None:
        """Take a client.

        Args:
            client: for the endpoint.
            wording: how a pair is put.
            max_tokens: of an answer; more where the wording lets the judge think first.
            top_logprobs: asked for; 0 for an endpoint that knows none and refuses the question.
            votes: sampled at temperature 1 where an answer comes without log-probs; their share,
                smoothed, is the probability. 0 takes the one answer as it is.
        """
        self.wording: Wording = wording or PairWording()
        self._asking = _Asking(client, max_tokens, top_logprobs, votes)
        self.counts = self._asking.counts

    @property
    def name(self) -> str:
        """Model and wording."""
        return f"{self._asking.client.name} ({self.wording.label})"

    def compare(
        self,
        prompts: Sequence[Sequence[Message]],
        a: Sequence[str],
        b: Sequence[str],
        columns: Sequence[Row] | None = None,  # noqa: ARG002 (the protocol's)
    ) -> list[float]:
        """The probability that response a, shown first, is the better; NaN where it abstained."""
        texts = zip(map(transcript, prompts), a, b, strict=True)
        return self.verdicts([(self.wording.for_pair(*three).messages, three) for three in texts])

    def verdicts(
        self, asked: Sequence[tuple[Callable[..., Conversation], Sequence[str]]]
    ) -> list[float]:
        """The probability that the next word of each conversation is the first option.

        Args:
            asked: texts, and what puts them into words.
        """
        options = self.wording.options
        questions = [say(*texts) for say, texts in asked]
        # With half a vote for either, as people's shares are smoothed: no sample proves certainty.
        return self._asking.verdicts(questions, lambda r: pair_verdict(r, options), options, [0.5])


class EndpointGrader:
    """A `RubricJudge` behind a `ChatClient`; see `EndpointJudge`."""

    def __init__(
        self,
        client: ChatClient,
        *,
        wording: GradeWording | None = None,
        max_tokens: int = 16,
        top_logprobs: int = 20,
        votes: int = 0,
    ) -> None:
        """Arguments as for `EndpointJudge`."""
        self.wording = wording or GradeWording()
        self._asking = _Asking(client, max_tokens, top_logprobs, votes)
        self.counts = self._asking.counts

    @property
    def name(self) -> str:
        """Model and wording."""
        return f"{self._asking.client.name} ({self.wording.label})"

    def grade(
        self,
        prompts: Sequence[Sequence[Message]],
        responses: Sequence[str],
        columns: Sequence[Row] | None = None,  # noqa: ARG002 (the protocol's)
    ) -> list[float]:
        """Grades between the lowest and the highest; NaN where it abstained."""
        texts = zip(map(transcript, prompts), responses, strict=True)
        questions = [self.wording.messages(*two) for two in texts]
        options = self.wording.options
        return self._asking.verdicts(questions, lambda r: grade_verdict(r, options), options)


def _reminded(question: Conversation, options: Sequence[str]) -> Conversation:
    """The question once more, in other words: at temperature 0 the same would be answered alike."""
    *before, last = question
    known = " or ".join(options) if len(options) < 3 else f"{options[0]} to {options[-1]}"
    text = f"{last['content']}\n\nSay nothing but your verdict: {known}."
    return [*before, Message(role=last["role"], content=text)]
