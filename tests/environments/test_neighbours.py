"""Nearest vectors, by sqlite-vec and by hand, and the border beyond which one is no stranger."""

import math
import sqlite3

import numpy as np
import pytest

from accord.environments.neighbours import Exact, VecTable, border, unit


def test_sqlite_vec_finds_the_same_neighbours() -> None:
    pytest.importorskip("sqlite_vec")
    if not hasattr(sqlite3.Connection, "enable_load_extension"):
        pytest.skip("this Python loads no extensions of SQLite")
    rng = np.random.default_rng(0)
    vectors, queries = (unit(rng.normal(size=(n, 16))) for n in (200, 20))
    vectors[7] = vectors[3]
    table, exact = VecTable(vectors), Exact(vectors)
    for query in [*queries, vectors[3]]:
        assert table.nearest(query, 10) == exact.nearest(query, 10)
        assert table.nearness(query) == pytest.approx(exact.nearness(query), abs=1e-5)
    assert exact.nearest(vectors[3], 2) == [3, 7]
    assert exact.nearness(vectors[3]) == pytest.approx(1.0)
    nothing = np.zeros(16, dtype=np.float32)
    assert not table.nearness(nothing) > 0 and exact.nearness(nothing) == 0


def test_the_border_by_hand() -> None:
    """Of three texts the nearest of another owner has cosine 0.8, 0.8 and 0.6; the 95th of 100 lies
    between the two highest.
    """
    vectors = np.array([[1, 0], [0.8, 0.6], [0, 1], [1, 0]], dtype=np.float32)
    assert border(vectors[:3], ["a", "b", "c"]) == pytest.approx(0.8)
    # The fourth is of the first's document: it does not count as near it.
    assert border(vectors, ["a", "b", "c", "a"]) == pytest.approx(0.8)
    assert border(vectors, ["a", "b", "c", "d"]) == pytest.approx(1.0)
    assert border(vectors[[0, 2]], ["a", "b"]) == 0.5
    assert border(vectors, ["a"] * 4) == math.inf
