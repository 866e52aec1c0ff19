"""Texts that are there twice: exactly, or nearly (MinHash finds candidates, Jaccard decides)."""

import hashlib
import zlib
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from accord.corpora.checking.texts import normal, words

_HASHES, _BANDS = 128, 32
"""Two sets of similarity s share a band with probability 1 - (1 - s^4)^32: 0.98 at s = 0.6."""


def exact_duplicates(texts: Sequence[str]) -> dict[int, int]:
    """The place of each repeated text, and of the first one that it repeats."""
    first: dict[bytes, int] = {}
    found = {}
    for place, text in enumerate(texts):
        digest = hashlib.sha256(normal(text).encode("utf-8", "surrogatepass")).digest()
        before = first.setdefault(digest, place)
        if before != place:
            found[place] = before
    return found


def near_duplicates(
    texts: Sequence[str], *, threshold: float = 0.8, size: int = 3
) -> dict[int, tuple[int, float]]:
    """The place of each text that is nearly an earlier one: that one's place, and how similar.

    Similarity is Jaccard's, |A and B| / |A or B|, of the texts' shingles: all runs of `size`
    words. Candidates come from MinHash in bands (Broder 1997; Leskovec et al., "Mining of massive
    datasets", 3.4), and are then compared exactly. A text that is one of another's near duplicates
    starts no group of its own.

    Args:
        texts: of rows.
        threshold: similarity from which on the later text is a duplicate, in (0, 1].
        size: words a shingle; texts with fewer words are compared by their words.
    """
    sets = [shingles(text, size) for text in texts]
    signatures = _signatures(sets)
    kept: dict[tuple[int, bytes], list[int]] = defaultdict(list)
    found: dict[int, tuple[int, float]] = {}
    rows = _HASHES // _BANDS
    for place, signature in enumerate(signatures):
        if not sets[place]:
            continue
        bands = [(b, signature[rows * b : rows * (b + 1)].tobytes()) for b in range(_BANDS)]
        candidates = sorted({other for band in bands for other in kept[band]})
        for other in candidates:
            similarity = jaccard(sets[place], sets[other])
            if similarity >= threshold:
                found[place] = (other, similarity)
                break
        else:
            for band in bands:
                kept[band].append(place)
    return found


def shingles(text: str, size: int) -> frozenset[tuple[str, ...]]:
    """All runs of `size` words; of a shorter text, its words as one."""
    found = words(text)
    if len(found) <= size:
        return frozenset({tuple(found)}) if found else frozenset()
    return frozenset(tuple(found[i : i + size]) for i in range(len(found) - size + 1))


def jaccard(a: frozenset[tuple[str, ...]], b: frozenset[tuple[str, ...]]) -> float:
    """|A and B| / |A or B|."""
    shared = len(a & b)
    return shared / (len(a) + len(b) - shared)


def _signatures(sets: Sequence[frozenset[tuple[str, ...]]]) -> list[NDArray[np.uint32]]:
    """(hashes,) of each set: the least value that each of some hash functions takes on it."""
    rng = np.random.default_rng(0)
    # Multiply-shift: the upper half of a x + b, modulo 2^64.
    a = rng.integers(1, 2**63, _HASHES, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    b = rng.integers(0, 2**63, _HASHES, dtype=np.uint64)
    signatures = []
    for found in sets:
        values = np.array([zlib.crc32(" ".join(s).encode()) for s in found], dtype=np.uint64)
        if not len(values):
            signatures.append(np.zeros(_HASHES, dtype=np.uint32))
            continue
        mixed = (a[:, None] * values + b[:, None]) >> np.uint64(32)
        signatures.append(mixed.min(1).astype(np.uint32))
    return signatures
