"""Chats of red-teamers with a model, each of one person, in memory until they are rated."""

import math
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from accord.core.chat import ChatFailure
from accord.core.errors import ConflictError, DataError, NotFoundError
from accord.core.interfaces import ChatClient
from accord.core.types import Message, Task
from accord.store.text import check_storable

CATEGORY = "red_team"
"""What such tasks are marked with: who opted out of it is shown neither them nor the chat."""

MOST_TURNS = 20
MOST_CHARACTERS = 8000
"""Turns of a chat, and letters of one."""

FORGOTTEN_AFTER_S = 4 * 3600.0

Score = Callable[[str, str], Mapping[str, float]]
"""(what was wanted, the reply) -> scores in [0, 1] by scorer; NaN where it abstains."""


@dataclass(frozen=True)
class Chat:
    """One conversation; it ends with the model's reply, or is still empty."""

    id: str
    wanted: str
    """what the person tries to bring the model to do"""
    turns: tuple[Message, ...] = ()
    touched_at: float = 0.0


class RedTeamDesk:
    """Where people chat with a target.

    Args:
        target: who is attacked.
        project: where rated chats go.
        score: of the last reply, beside the person's own word.
        max_new_tokens: of a reply.
        now: the clock, in seconds since 1970.
    """

    def __init__(
        self,
        target: ChatClient,
        project: str,
        *,
        score: Score = lambda *_: {},
        temperature: float = 1.0,
        max_new_tokens: int = 256,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.target = target
        self.project = project
        self.score = score
        self.temperature = temperature
        self.max_new_tokens = max_new_tokens
        self.now = now
        self._chats: dict[str, Chat] = {}
        self._waiting: set[str] = set()
        self._lock = threading.Lock()

    def of(self, who: str) -> Chat | None:
        """The chat that this person is in."""
        with self._lock:
            oldest = self.now() - FORGOTTEN_AFTER_S
            self._chats = {n: c for n, c in self._chats.items() if c.touched_at >= oldest}
            return self._chats.get(who)

    def begin(self, who: str, wanted: str) -> Chat:
        """A new chat; one that was not rated is thrown away.

        Raises:
            DataError: it is not said what is to be shown.
        """
        chat = Chat(uuid.uuid4().hex, _text(wanted, "what you try"), touched_at=self.now())
        with self._lock:
            self._chats[who] = chat
        return chat

    def say(self, who: str, text: str) -> Chat:
        """The chat with one turn more of both.

        Raises:
            NotFoundError: there is no chat, or it was thrown away meanwhile.
            ConflictError: the model still answers the last turn.
            DataError: nothing was said, too much, or the model gave no answer.
        """
        chat = self.of(who)
        if chat is None:
            raise NotFoundError("this chat is over; begin another one")
        if len(chat.turns) >= 2 * MOST_TURNS:
            raise DataError(f"a chat has at most {MOST_TURNS} turns; rate this one")
        asked = (*chat.turns, Message(role="user", content=_text(text, "your message")))
        with self._lock:
            if who in self._waiting:
                raise ConflictError("the model still answers; wait for it")
            self._waiting.add(who)
        try:
            (reply,) = self.target.complete(
                [asked],
                temperature=self.temperature,
                max_tokens=self.max_new_tokens,
                seed=int(chat.id[:7], 16),
            )
        finally:
            with self._lock:
                self._waiting.discard(who)
        if isinstance(reply, ChatFailure):
            raise DataError(f"the model gave no answer ({reply.kind}); say it again later")
        turns = (*asked, Message(role="assistant", content=reply.text))
        grown = replace(chat, turns=turns, touched_at=self.now())
        with self._lock:
            current = self._chats.get(who)
            if current is None or current.id != chat.id:
                raise NotFoundError("this chat is over; begin another one")
            self._chats[who] = grown
        return grown

    def task_of(self, chat: Chat) -> Task:
        """The chat as a task, scored: did the last reply show what was wanted?

        Raises:
            DataError: the model has said nothing yet.
        """
        if not chat.turns or not chat.turns[-1]["content"].strip():
            raise DataError("there is no reply to rate yet")
        reply = chat.turns[-1]["content"]
        scores = self.score(chat.wanted, reply)
        return Task(
            id=f"red-team-{chat.id}",
            project=self.project,
            kind="success",
            prompt=chat.turns[:-1],
            responses=(reply,),
            policies=(self.target.name,),
            columns={
                "category": CATEGORY,
                "behaviour": chat.wanted,
                "attack": "person",
                "scores": {k: None if math.isnan(v) else v for k, v in scores.items()},
            },
        )

    def end(self, who: str, chat: Chat) -> None:
        """Forget a chat, if it is still the one that this person is in."""
        with self._lock:
            if self._chats.get(who, chat).id == chat.id:
                self._chats.pop(who, None)


def _text(text: str, what: str) -> str:
    plain = text.replace("\r\n", "\n").strip()
    check_storable(plain, what)
    if not plain:
        raise DataError(f"write {what} first")
    if len(plain) > MOST_CHARACTERS:
        raise DataError(f"{what}: at most {MOST_CHARACTERS} letters, got {len(plain)}")
    return plain
