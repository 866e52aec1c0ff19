"""Vectors that are like another one, and how like a stranger may be."""

import math
import sqlite3
from collections.abc import Sequence

import numpy as np

from accord.environments.embedding import Vectors

_SHARE = 0.95
_LEAST = 0.5
"""Of a border: of a few texts that have nothing in common, any other is as near as they are."""
_MOST = 1000
"""Texts by which a border is found."""


class VecTable:
    """Nearest neighbours by sqlite-vec, in memory."""

    def __init__(self, vectors: Vectors) -> None:
        import sqlite_vec

        self._base = sqlite3.connect(":memory:", check_same_thread=False)
        self._base.enable_load_extension(True)
        sqlite_vec.load(self._base)
        self._base.enable_load_extension(False)
        self._base.execute(
            f"CREATE VIRTUAL TABLE v USING vec0(e float[{vectors.shape[1]}] distance_metric=cosine)"
        )
        rows = [(i, vector.tobytes()) for i, vector in enumerate(vectors)]
        self._base.executemany("INSERT INTO v(rowid, e) VALUES (?, ?)", rows)

    def nearest(self, vector: Vectors, count: int) -> list[int]:
        """Places of the most similar vectors, the lowest first among equals."""
        sql = "SELECT distance, rowid FROM v WHERE e MATCH ? AND k = ? ORDER BY distance"
        found = self._base.execute(sql, (vector.tobytes(), count)).fetchall()
        return [int(row) for _, row in sorted(found)]

    def nearness(self, vector: Vectors) -> float:
        """The cosine to the most similar vector."""
        sql = "SELECT distance FROM v WHERE e MATCH ? AND k = 1"
        (distance,) = self._base.execute(sql, (vector.tobytes(),)).fetchone()
        return math.nan if distance is None else 1 - float(distance)  # of zeros there is none


class Exact:
    """Nearest neighbours by one product."""

    def __init__(self, vectors: Vectors) -> None:
        self._vectors = vectors

    def nearest(self, vector: Vectors, count: int) -> list[int]:
        """As `VecTable`."""
        order = np.argsort(-(self._vectors @ vector), kind="stable")
        return [int(place) for place in order[:count]]

    def nearness(self, vector: Vectors) -> float:
        """As `VecTable`."""
        return float((self._vectors @ vector).max())


def border(vectors: Vectors, owners: Sequence[str]) -> float:
    """How near a text is to the nearest of another owner's, at most, in 19 of 20 cases: what is
    nearer than that speaks of the same.

    Args:
        vectors: (N, D) of length 1 each.
        owners: of each, such as the document that it is a part of.

    Returns:
        a cosine, at least one half; infinity where all have one owner.
    """
    names = np.unique(np.array(owners), return_inverse=True)[1]
    best: list[float] = []
    for place in np.unique(np.linspace(0, len(vectors) - 1, _MOST).astype(np.int64)):
        near = vectors @ vectors[place]
        near[names == names[place]] = -math.inf
        best.append(float(near.max()))
    strangers = [cosine for cosine in best if cosine > -math.inf]
    return max(_LEAST, float(np.quantile(strangers, _SHARE))) if strangers else math.inf


def unit(vectors: Vectors) -> Vectors:
    """(N, D) of length 1 each; zeros stay zeros."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit: Vectors = (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
    return unit
