"""Packing of token streams into rows of one length, with documents kept apart."""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int32]


def pack(documents: Iterable[Sequence[int]], *, length: int) -> tuple[Ids, Ids]:
    """Concatenate documents and cut the stream into rows.

    Returns:
        ids (N, length) and positions (N, length); a position counts from 0 at each document's
        start, also when the document was cut across rows (there it starts anew, since attention
        does not reach into the previous row). The stream's tail that fills no row is dropped.
    """
    stream: list[int] = []
    starts: list[int] = []
    for document in documents:
        starts.append(len(stream))
        stream.extend(document)
    rows = len(stream) // length
    ids = np.asarray(stream[: rows * length], dtype=np.int32).reshape(rows, length)
    marks = np.zeros(len(stream), dtype=bool)
    marks[starts] = True
    is_start = marks[: rows * length].reshape(rows, length)
    is_start[:, 0] = True
    index = np.arange(length, dtype=np.int32)
    last_start = np.maximum.accumulate(np.where(is_start, index, 0), axis=1)
    return ids, (index - last_start).astype(np.int32)
