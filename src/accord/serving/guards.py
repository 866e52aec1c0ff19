"""Guards: classifiers of ours that read what comes in and what goes out, before anybody else does.

A stream is held back until the guards have read it: in windows, each judged with all that was said
before it, so nothing that is refused was ever shown. They fail closed: where a guard cannot judge,
nothing passes.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from accord.core.assets import resolve_asset
from accord.core.device import default_device
from accord.core.errors import ConfigError, describe_choice
from accord.core.types import GeneratedToken
from accord.rewards.classifier import Classifier
from accord.serving.generating import Piece
from accord.serving.refusals import ApiError

WINDOW = 120
"""Characters that are shown together, at least: each window costs a reading."""
_PIECE, _OVERLAP, _SHORTEST = 1500, 200, 64
"""Characters that are read at one time; pieces overlap, so that nothing hides at a border."""

Judge = Callable[[Sequence[str]], Sequence[float]]
"""Probabilities, in [0, 1], that texts are what is not wanted."""


@dataclass(frozen=True)
class Guard:
    """What must not pass: texts that `judge` gives `threshold` or more."""

    name: str
    judge: Judge
    threshold: float
    on_input: bool = True
    on_output: bool = True


class Guards:
    """Several guards; one that says no is enough. They have one thread together."""

    def __init__(self, guards: Sequence[Guard]) -> None:
        self._input = [guard for guard in guards if guard.on_input]
        self._output = [guard for guard in guards if guard.on_output]
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="accord-guard")

    async def refuse(self, texts: Sequence[str]) -> None:
        """Refuse what a client says.

        Raises:
            ApiError: a guard says no, or cannot say.
        """
        if not await self.let_in(texts):
            raise ApiError(400, "the prompt was refused by a content filter", code="content_filter")

    async def let_in(self, texts: Sequence[str]) -> bool:
        """Whether the policy may read texts: of clients, documents and tools."""
        return await self._are_fine(self._input, texts)

    async def let_out(self, texts: Sequence[str]) -> bool:
        """Whether clients may read whole texts."""
        return await self._are_fine(self._output, texts)

    async def watched(
        self, stream: AsyncGenerator[Piece, None], count: int
    ) -> AsyncGenerator[Piece, None]:
        """The same pieces of `count` choices, later and fewer; a choice that is refused ends with
        "content_filter", and without the words for which it was. Asides were read before.
        """
        held = [_Held() for _ in range(count)]
        try:
            async for piece in stream:
                if not self._output:
                    yield piece
                    continue
                mine = held[piece.index]
                if mine.is_refused:
                    continue
                mine.add(piece)
                if piece.finish is None and not piece.aside and len(mine.text) < WINDOW:
                    continue
                if not await self.let_out([mine.shown + mine.text]):
                    mine.is_refused = True
                    yield Piece(piece.index, "", (), "content_filter")
                    if all(choice.is_over for choice in held):
                        return
                else:
                    yield mine.release(piece)
        finally:
            await stream.aclose()

    async def _are_fine(self, guards: Sequence[Guard], texts: Sequence[str]) -> bool:
        texts = [text for text in texts if text.strip()]
        if not guards or not texts:
            return True
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, _are_fine, guards, texts)


class _Held:
    """What of one choice waits for the guards."""

    def __init__(self) -> None:
        self.shown = self.text = ""
        self.tokens: tuple[GeneratedToken, ...] = ()
        self.is_refused = self.is_finished = False

    @property
    def is_over(self) -> bool:
        return self.is_refused or self.is_finished

    def add(self, piece: Piece) -> None:
        self.text += piece.text
        self.tokens += piece.tokens

    def release(self, last: Piece) -> Piece:
        found = replace(last, text=self.text, tokens=self.tokens)
        self.shown, self.text, self.tokens = self.shown + self.text, "", ()
        self.is_finished = last.finish is not None
        return found


def _are_fine(guards: Sequence[Guard], texts: Sequence[str]) -> bool:
    pieces = [piece for text in texts for piece in split(text)]
    for guard in guards:
        try:
            # A probability that is no number is no proof of innocence.
            is_fine = all(value < guard.threshold for value in guard.judge(pieces))
        except Exception:
            logging.getLogger(__name__).exception("guard %s failed; nothing passes", guard.name)
            return False
        if not is_fine:
            return False
    return True


def split(text: str) -> list[str]:
    """Pieces that a classifier reads whole, each with the end of the one before."""
    step = _PIECE - _OVERLAP
    return [text[at : at + _PIECE] for at in range(0, max(len(text) - _OVERLAP, 1), step)]


def load_guards(wanted: Sequence[str]) -> Guards:
    """From CLASSIFIER:LABEL:THRESHOLD[:input|output].

    Raises:
        ConfigError: one is not of this form, or the classifier has no such label.
        ModelError: no classifier of ours is there.
    """
    return Guards([_load(given) for given in wanted])


def _load(given: str) -> Guard:
    head, _, side = given.rpartition(":")
    if side not in ("input", "output"):
        head, side = given, ""
    path, label, threshold = [*head.rsplit(":", 2), "", ""][:3]
    try:
        border = float(threshold)
    except ValueError:
        border = -1.0
    if not 0 < border <= 1:
        raise ConfigError(f"--guard {given}: expected CLASSIFIER:LABEL:THRESHOLD[:input|output]")
    classifier = Classifier(resolve_asset(path), device=default_device(), max_length=4096)
    if label not in classifier.labels:
        raise ConfigError(f"--guard: no label {describe_choice(label, list(classifier.labels))}")
    column = classifier.labels.index(label)

    def judge(texts: Sequence[str]) -> list[float]:
        return _read(classifier, column, texts)

    return Guard(label, judge, border, side != "output", side != "input")


def _read(classifier: Classifier, column: int, texts: Sequence[str]) -> list[float]:
    """Of each text; one that does not fit the context is read in halves, and none in part."""
    found = []
    for text in texts:
        before = classifier.cut_rows
        value = float(classifier.probabilities([()], [text])[0, column])
        if classifier.cut_rows > before:
            half = len(text) // 2
            if half < _SHORTEST:
                raise ConfigError("the guard's context is too short to read anything")
            value = max(_read(classifier, column, [text[:half], text[half:]]))
        found.append(value)
    return found
