"""Answers that were paid for once: by content hash, in a file of the run directory."""

import json
import math
import os
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from accord.core.chat import ChatFailure, ChatReply
from accord.core.errors import AccordError, Interrupted
from accord.core.files import hash_json, storage_errors
from accord.core.interfaces import ChatClient, PairJudge, RubricJudge
from accord.core.types import Message, Row

PIECE = 64
"""Questions that are asked before their answers are written down."""

DOWN_AFTER = 32
"""Questions in a row, each tried several times, without one answer: then the endpoint is down."""

AT_THE_END = 8
"""The same where a call ends with them: nobody hears whether the next would be answered."""


class EndpointDown(AccordError):
    """The endpoint answers nothing any more; what it answered before is not lost."""


class Memory:
    """Values by content hash in a JSONL file that only grows.

    Each line is one write, on the disk before it counts; a line that a kill cut short is skipped,
    and what it held is asked again.

    Args:
        path: the file, made with the first write.
        stop: once it is true in a boolean context, nothing more is asked.
    """

    def __init__(self, path: Path, *, stop: object = None) -> None:
        self.path = path
        self.stop = stop
        self._values: dict[str, Any] = {}
        if path.exists():
            for line in path.read_bytes().splitlines():
                try:
                    row = json.loads(line)
                    self._values[row["key"]] = row["value"]
                except (ValueError, KeyError, TypeError):
                    continue

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def add(self, values: dict[str, Any]) -> None:
        """Keep values, all or (after a crash) some of them.

        Raises:
            StorageError: the disk refused; what was there before is untouched.
        """
        lines = [json.dumps({"key": k, "value": v}, ensure_ascii=False) for k, v in values.items()]
        if not lines:
            return
        # A new line first: the last one may have been cut short.
        data = ("\n" + "\n".join(lines) + "\n").encode()
        with storage_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                written = 0
                while written < len(data):
                    written += os.write(descriptor, data[written:])
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        self._values |= values

    def pieces(self, unknown: Sequence[str]) -> Iterator[Sequence[str]]:
        """Keys that are asked together, whose values are then to be added.

        Raises:
            Interrupted: it was asked to stop; what was added is kept.
        """
        for start in range(0, len(unknown), PIECE):
            if self.stop:
                raise Interrupted("stopped; run again to resume: nothing is asked twice")
            yield unknown[start : start + PIECE]


class RememberedClient:
    """A `ChatClient` that asks the same thing once; failures are not remembered.

    Most who ask take silence for an abstention, and an outage would leave a run with nothing else
    in it. So this is where it ends: at `DOWN_AFTER` questions in a row without an answer, or
    `AT_THE_END` of a call. In a row are questions as they were put, with those whose answer was
    known: a few that never have one do not stop a run that goes on from what it has.

    Args:
        client: who is asked what is not known.
        memory: what is known, and whether to stop.

    Attributes:
        tokens: "prompt_tokens" and "completion_tokens" of all that was asked, each answer once,
            also of what an earlier start of the same run paid for.
    """

    def __init__(self, client: ChatClient, memory: Memory) -> None:
        self.client = client
        self.memory = memory
        self.tokens: Counter[str] = Counter()
        self._charged: set[str] = set()
        self._silence: list[ChatFailure] = []

    @property
    def name(self) -> str:
        """The client's own."""
        return self.client.name

    def complete(
        self,
        conversations: Sequence[Sequence[Message]],
        *,
        temperature: float,
        max_tokens: int,
        top_logprobs: int = 0,
        seed: int = 0,
    ) -> list[ChatReply | ChatFailure]:
        """What is known, and the client's answers to the rest.

        Raises:
            Interrupted: it was asked to stop; what was answered is kept.
            EndpointDown: nobody answers any more; what was answered is kept.
        """
        asked = [self.name, temperature, max_tokens, top_logprobs]
        asked += [seed] if seed else []
        keys = [hash_json([*asked, list(messages)]) for messages in conversations]
        new = dict(zip(keys, conversations, strict=True))
        failures: dict[str, ChatFailure] = {}
        waiting = deque(new)
        self._hear(waiting, failures)
        for piece in self.memory.pieces([key for key in new if key not in self.memory]):
            failures |= self._ask(
                {key: new[key] for key in piece},
                temperature=temperature,
                max_tokens=max_tokens,
                top_logprobs=top_logprobs,
                seed=seed,
            )
            self._hear(waiting, failures)
        self._give_up_after(AT_THE_END)
        replies = [failures.get(key) or ChatReply(**self.memory[key]) for key in keys]
        for key, reply in zip(keys, replies, strict=True):
            if isinstance(reply, ChatReply) and key not in self._charged:
                self._charged.add(key)
                self.tokens["prompt_tokens"] += reply.prompt_tokens
                self.tokens["completion_tokens"] += reply.completion_tokens
        return replies

    def _ask(self, asked: Mapping[str, Sequence[Message]], **how: Any) -> dict[str, ChatFailure]:
        """Keep the answers, and return the failures."""
        replies: Sequence[ChatReply | ChatFailure | None] = ()
        try:
            replies = self.client.complete(list(asked.values()), **how)
        except BaseException as error:
            # What came before it broke off is paid for, too.
            replies = getattr(error, "replies", ())
            raise
        finally:
            said = dict(zip(asked, replies, strict=False))
            self.memory.add({k: asdict(r) for k, r in said.items() if isinstance(r, ChatReply)})
        return {k: r for k, r in said.items() if isinstance(r, ChatFailure)}

    def _hear(self, waiting: deque[str], failures: Mapping[str, ChatFailure]) -> None:
        """Count the silence, up to the first question of which nothing is known yet."""
        while waiting and (waiting[0] in failures or waiting[0] in self.memory):
            failure = failures.get(waiting.popleft())
            if failure is None:
                self._silence.clear()
            elif failure.kind != "refused":  # who declines a question answers others
                self._silence.append(failure)
                self._give_up_after(DOWN_AFTER)

    def _give_up_after(self, most: int) -> None:
        if len(self._silence) >= most:
            last = self._silence[-1]
            raise EndpointDown(
                f"{self.name}: {len(self._silence)} questions in a row had no answer "
                f"({last.kind}: {last.message}); run again when it is back: nothing is asked twice"
            )


class RememberedJudge:
    """A `PairJudge` that is asked about a pair, in one order, once; abstentions are asked again."""

    def __init__(self, judge: PairJudge, memory: Memory) -> None:
        self.judge = judge
        self.memory = memory

    @property
    def name(self) -> str:
        """The judge's own."""
        return self.judge.name

    def compare(
        self,
        prompts: Sequence[Sequence[Message]],
        a: Sequence[str],
        b: Sequence[str],
        columns: Sequence[Row] | None = None,
    ) -> list[float]:
        """What is known, and the judge's answers to the rest."""
        rows: Sequence[Row] = [{} for _ in prompts] if columns is None else columns
        items = list(zip(prompts, a, b, rows, strict=True))

        def ask(piece: Sequence[Any]) -> list[float]:
            return self.judge.compare(*map(list, zip(*piece, strict=True)))

        return _recalled(self.memory, ["pair", self.name], items, ask)


class RememberedGrader:
    """A `RubricJudge` that grades a response once; see `RememberedJudge`."""

    def __init__(self, judge: RubricJudge, memory: Memory) -> None:
        self.judge = judge
        self.memory = memory

    @property
    def name(self) -> str:
        """The judge's own."""
        return self.judge.name

    def grade(
        self,
        prompts: Sequence[Sequence[Message]],
        responses: Sequence[str],
        columns: Sequence[Row] | None = None,
    ) -> list[float]:
        """What is known, and the judge's answers to the rest."""
        rows: Sequence[Row] = [{} for _ in prompts] if columns is None else columns
        items = list(zip(prompts, responses, rows, strict=True))

        def ask(piece: Sequence[Any]) -> list[float]:
            return self.judge.grade(*map(list, zip(*piece, strict=True)))

        return _recalled(self.memory, ["grade", self.name], items, ask)


def _recalled(
    memory: Memory,
    prefix: list[str],
    items: Sequence[tuple[Any, ...]],
    ask: Callable[[Sequence[Any]], list[float]],
) -> list[float]:
    keys = [hash_json([*prefix, *map(_plain, item)]) for item in items]
    new = {key: item for key, item in zip(keys, items, strict=True) if key not in memory}
    # Both orders of a pair in one piece: a judge may read what they share once.
    first: dict[str, int] = {}
    turn = {k: first.setdefault(hash_json(_plain(item[0])), len(first)) for k, item in new.items()}
    unknown = sorted(new, key=turn.__getitem__)
    found: dict[str, float] = {}
    for piece in memory.pieces(unknown):
        said = dict(zip(piece, ask([new[key] for key in piece]), strict=True))
        memory.add({key: value for key, value in said.items() if not math.isnan(value)})
        found |= said
    return [found[key] if key in found else float(memory[key]) for key in keys]


def _plain(value: Any) -> Any:
    """A prompt or a row as JSON has it; what JSON does not know is named by its text."""
    return json.loads(json.dumps(value, default=str))
