"""Conversations to texts: in pieces that are on the disk before the next one is asked."""

from collections import Counter
from collections.abc import Sequence

from accord.core.chat import ChatFailure, ChatReply
from accord.core.interfaces import ChatClient
from accord.core.progress import progress_bar
from accord.core.types import Message
from accord.judges.remembered import PIECE


class Asking:
    """Asks a client that remembers.

    Args:
        client: which keeps what it was answered: the same is not asked again.
        seed: of every answer that is drawn.

    Attributes:
        counts: answers that were "cut" for want of room.
    """

    def __init__(self, client: ChatClient, *, seed: int) -> None:
        self.client = client
        self.seed = seed
        self.counts: Counter[str] = Counter()

    def ask(
        self,
        what: str,
        conversations: Sequence[Sequence[Message]],
        *,
        temperature: float,
        max_tokens: int,
    ) -> list[str | None]:
        """A text each, without the space around it; None where there is no answer.

        Raises:
            EndpointDown: nobody answers any more; what was answered is kept.
            Interrupted: it was asked to stop; what was answered is kept.
        """
        found: list[str | None] = []
        with progress_bar(what, len(conversations)) as bar:
            for start in range(0, len(conversations), PIECE):
                replies = self.client.complete(
                    conversations[start : start + PIECE],
                    temperature=temperature,
                    max_tokens=max_tokens,
                    seed=self.seed,
                )
                found += [self._text(reply) for reply in replies]
                bar.update(len(found))
        return found

    def _text(self, reply: ChatReply | ChatFailure) -> str | None:
        if isinstance(reply, ChatFailure):
            return None
        self.counts["cut"] += reply.finish == "length"
        return reply.text.strip()
