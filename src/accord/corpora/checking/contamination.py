"""Rows that hold parts of a benchmark: training on them would make its figures worthless."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from accord.core.errors import DataError
from accord.corpora.checking.texts import strings_of, words
from accord.corpora.readers import read_rows

COMMON = 10
"""Rows that may share a run of words before it counts as a turn of phrase."""


@dataclass(frozen=True)
class Overlap:
    """What a row and a benchmark have in common."""

    benchmark: str
    words: str


class Benchmarks:
    """The runs of `size` words of some benchmarks' texts.

    A text with fewer words than that, but at least half as many, is one run.

    Source: Brown et al. 2020, arXiv:2005.14165, appendix C: runs of 13 words, without those that
    more than ten documents share.

    Args:
        references: the benchmarks' files: every string in them counts, names of columns do not.
        size: words in a run.

    Raises:
        DataError: a file cannot be read, or has no text that is long enough.
    """

    def __init__(self, references: Sequence[str], *, size: int = 13) -> None:
        self.size = size
        self._runs: dict[tuple[str, ...], str] = {}
        self._lengths: set[int] = {size}
        for reference in references:
            before = len(self._runs)
            for row in read_rows(reference):
                for text in strings_of(row):
                    self._add(words(text), reference)
            if len(self._runs) == before:
                raise DataError(f"{reference}: no text of {size // 2 + 1} words or more")

    def _add(self, found: list[str], reference: str) -> None:
        if self.size // 2 < len(found) < self.size:
            self._lengths.add(len(found))
            self._runs.setdefault(tuple(found), reference)
        for run in _runs(found, self.size):
            self._runs.setdefault(run, reference)

    def contaminated(self, texts: Sequence[str]) -> dict[int, Overlap]:
        """The places of texts that share a run with a benchmark, and which."""
        hits: dict[int, list[tuple[str, ...]]] = defaultdict(list)
        rows_with: Counter[tuple[str, ...]] = Counter()
        for place, text in enumerate(texts):
            found = words(text)
            runs = {run for n in sorted(self._lengths) for run in _runs(found, n)}
            shared = sorted(run for run in runs if run in self._runs)
            rows_with.update(shared)
            if shared:
                hits[place] = shared
        return {
            place: Overlap(self._runs[telling[0]], " ".join(telling[0]))
            for place, shared in hits.items()
            if (telling := [run for run in shared if rows_with[run] <= COMMON])
        }


def _runs(found: list[str], size: int) -> Iterator[tuple[str, ...]]:
    return (tuple(found[i : i + size]) for i in range(len(found) - size + 1))
