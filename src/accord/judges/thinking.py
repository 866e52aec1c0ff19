"""A judge that writes down its reasons before it says which response is the better."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from accord.core.chat import ChatReply
from accord.core.interfaces import ChatClient
from accord.core.types import Message, Row
from accord.judges.wording import transcript

WITHIN = (0.4, 0.6)
"""Reasons make a model nearly certain, whatever they are worth; so its probability is clamped."""


class VerdictReader(Protocol):
    """A judge that can be asked in other conversations than its own."""

    wording: Any
    """whose words for a pair may be asked to think"""
    counts: Counter[str]

    @property
    def name(self) -> str:
        """Model and wording."""

    def verdicts(
        self, asked: Sequence[tuple[Callable[..., list[Message]], Sequence[str]]]
    ) -> list[float]:
        """The probability that the next word of each conversation is the first option."""


class ThinkingJudge:
    """A `PairJudge`: reasons first, then the verdict by log-probs (or words) with them in sight.

    Source: Bai et al. 2022, arXiv:2212.08073, section 4.1: chain of thought, and the clamp.

    Attributes:
        counts: those of the reader, and pairs that were left for want of reasons ("speechless").
    """

    def __init__(
        self,
        writer: ChatClient,
        reader: VerdictReader,
        *,
        max_tokens: int = 512,
        within: tuple[float, float] = WITHIN,
    ) -> None:
        """Take what writes and what reads the verdict; both are the same model, most likely.

        Args:
            writer: of the reasons, at temperature 0.
            reader: of the verdict.
            max_tokens: of the reasons.
            within: what probabilities are clamped to.
        """
        self.writer = writer
        self.reader = reader
        self.max_tokens = max_tokens
        self.within = within
        self.counts = reader.counts

    @property
    def name(self) -> str:
        """The reader's, and that it thinks."""
        return f"{self.reader.name}, thinking"

    def compare(
        self,
        prompts: Sequence[Sequence[Message]],
        a: Sequence[str],
        b: Sequence[str],
        columns: Sequence[Row] | None = None,  # noqa: ARG002 (the protocol's)
    ) -> list[float]:
        """The probability that response a, shown first, is the better; NaN where it abstained."""
        texts = list(zip(map(transcript, prompts), a, b, strict=True))
        words = [self.reader.wording.for_pair(*three) for three in texts]
        replies = self.writer.complete(
            [say.thinking(*three) for say, three in zip(words, texts, strict=True)],
            temperature=0.0,
            max_tokens=self.max_tokens,
        )
        thought = {
            i: (*texts[i], reply.text)
            for i, reply in enumerate(replies)
            if isinstance(reply, ChatReply) and reply.text.strip()
        }
        self.counts["speechless"] += len(texts) - len(thought)
        said = self.reader.verdicts(
            [(words[i].after_thinking, four) for i, four in thought.items()]
        )
        low, high = self.within
        found = [math.nan] * len(texts)
        for i, p in zip(thought, said, strict=True):
            found[i] = p if math.isnan(p) else min(max(p, low), high)
        return found
