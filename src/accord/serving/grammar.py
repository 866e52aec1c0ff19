"""Grammars over bytes, read a byte at a time: what has been said, and what may come next.

A state is a set of stacks; a stack is what is still to come of one way to read the text, innermost
first. Recursion is by name, so grammars may nest; every rule has to read a byte before it comes
back to itself. Expressions and stacks are compared by identity, and a grammar makes each one once,
so that nothing deep is ever hashed.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

_MOST_STEPS = 2**17
"""Remembered of one grammar."""


@dataclass(frozen=True, eq=False)
class Bytes:
    """One byte out of a set."""

    among: frozenset[int]


@dataclass(frozen=True, eq=False)
class Sequence:
    """One after the other."""

    parts: tuple["Expression", ...]


@dataclass(frozen=True, eq=False)
class Choice:
    """One of several."""

    options: tuple["Expression", ...]


@dataclass(frozen=True, eq=False)
class Repeat:
    """`least` to `most` times; None is without end."""

    part: "Expression"
    least: int = 0
    most: int | None = None


@dataclass(frozen=True, eq=False)
class Rule:
    """Another expression, by name."""

    name: str


Expression: TypeAlias = Bytes | Sequence | Choice | Repeat | Rule


@dataclass(frozen=True, eq=False)
class Stack:
    """What is still to come: `first`, and then `rest`."""

    first: Expression
    rest: "Stack | None"


State = frozenset[Stack | None]
"""None is the empty stack: the text may end here."""


_BYTES = [Bytes(frozenset([byte])) for byte in range(256)]


def text(words: str | bytes) -> Expression:
    """Exactly this."""
    encoded = words.encode() if isinstance(words, str) else words
    return Sequence(tuple(_BYTES[byte] for byte in encoded))


def optional(part: Expression) -> Expression:
    """It, or nothing."""
    return Repeat(part, 0, 1)


class Grammar:
    """An expression with the rules that it names.

    Attributes:
        start: the state before anything was said.
    """

    def __init__(self, root: Expression, rules: dict[str, Expression]) -> None:
        self._rules = rules
        self._stacks: dict[tuple[Expression, Stack | None], Stack] = {}
        self._repeats: dict[tuple[Expression, int, int | None], Repeat] = {}
        self._after: dict[tuple[State, int], State] = {}
        self._near: dict[tuple[Stack, int], Stack] = {}
        self.start: State = frozenset(self._opened(self._stack(root, None)))

    def after(self, state: State, byte: int) -> State:
        """The state after one more byte; empty where it may not come."""
        found = self._after.get((state, byte))
        if found is None:
            # The same states come again and again: inside a string every letter leads back.
            if len(self._after) >= _MOST_STEPS:
                self._after.clear()
                # Nested text makes ever new ones; texts under way keep theirs.
                self._stacks.clear()
                self._repeats.clear()
                self._near.clear()
            found = self._after[state, byte] = frozenset(self._stepped(state, byte))
        return found

    def near(self, state: State, most: int) -> State:
        """A state after which the same `most` bytes may come, and the same one for many others.

        How often something may still be repeated is of no account beyond `most`: each time reads a
        byte. So the first characters of a long string have one state.
        """
        return frozenset(stack and self._near_stack(stack, most) for stack in state)

    def _near_stack(self, stack: Stack, most: int) -> Stack:
        chain: list[Stack] = []
        below: Stack | None = stack
        while below is not None and (below, most) not in self._near:
            chain.append(below)
            below = below.rest
        found = None if below is None else self._near[below, most]
        for one in reversed(chain):
            first = one.first
            if isinstance(first, Repeat):
                upper = None if first.most is None else min(first.most, most)
                first = self._repeat(first.part, min(first.least, most), upper)
            found = self._near[one, most] = self._stack(first, found)
        assert found is not None
        return found

    @staticmethod
    def may_end(state: State) -> bool:
        """Whether what was said is whole."""
        return None in state

    def reads(self, said: Iterable[int]) -> bool:
        """Whether this is a whole text of the grammar."""
        state = self.start
        for byte in said:
            state = self.after(state, byte)
        return self.may_end(state)

    def _stepped(self, state: State, byte: int) -> Iterator[Stack | None]:
        for stack in state:
            if stack is not None and isinstance(stack.first, Bytes) and byte in stack.first.among:
                yield from self._opened(stack.rest)

    def _opened(self, stack: Stack | None) -> Iterator[Stack | None]:
        """The stacks that begin with a byte, or are empty, to which this one can be read."""
        waiting, seen = [stack], set()
        while waiting:
            stack = waiting.pop()
            if stack in seen:
                continue
            seen.add(stack)
            if stack is None or isinstance(stack.first, Bytes):
                yield stack
            else:
                waiting += self._unfolded(stack.first, stack.rest)

    def _unfolded(self, first: Expression, rest: Stack | None) -> Iterator[Stack | None]:
        match first:
            case Sequence(parts):
                for part in reversed(parts):
                    rest = self._stack(part, rest)
                yield rest
            case Choice(options):
                yield from (self._stack(option, rest) for option in options)
            case Rule(name):
                yield self._stack(self._rules[name], rest)
            case Repeat(part, least, most):
                if least == 0:
                    yield rest
                if most is None or most > 0:
                    left = self._repeat(part, max(least - 1, 0), None if most is None else most - 1)
                    yield self._stack(part, self._stack(left, rest))

    def _stack(self, first: Expression, rest: Stack | None) -> Stack:
        return self._stacks.setdefault((first, rest), Stack(first, rest))

    def _repeat(self, part: Expression, least: int, most: int | None) -> Repeat:
        return self._repeats.setdefault((part, least, most), Repeat(part, least, most))
