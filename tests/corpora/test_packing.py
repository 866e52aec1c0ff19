"""Packing keeps every token in order and documents apart."""

import numpy as np

from accord.corpora.packing import pack


def test_pack_by_hand() -> None:
    ids, positions = pack([[1, 2, 3], [4, 5], [6, 7, 8, 9]], length=4)
    np.testing.assert_array_equal(ids, [[1, 2, 3, 4], [5, 6, 7, 8]])
    np.testing.assert_array_equal(positions, [[0, 1, 2, 0], [0, 0, 1, 2]])


def test_too_little_text_is_no_row() -> None:
    assert pack([[1, 2]], length=4)[0].shape == (0, 4)
