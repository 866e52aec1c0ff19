"""An index of passages: words by BM25, meaning by vectors, both fused by rank.

It is one SQLite file. Vectors are searched by sqlite-vec where that can be loaded, else read from
their table and compared here: the same neighbours, more slowly.
"""

import contextlib
import json
import math
import os
import re
import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from accord.core.errors import ConfigError, DataError
from accord.core.files import hash_json
from accord.environments.documents import Passage
from accord.environments.embedding import Embedder, Vectors
from accord.environments.neighbours import Exact, VecTable, border, unit

RANK_CONSTANT = 60
"""Source: Cormack et al. 2009, "Reciprocal rank fusion outperforms Condorcet"."""
_DEPTH = 50
"""Neighbours of each kind that are fused."""
_WORD = re.compile(r"\w+")
_ENDING = re.compile(r"(?:ing|ed|es|s|e)$")
_VERSION = 2
_MAGIC = b"SQLite format 3\0"
_SCHEMA = """
CREATE TABLE meta (value TEXT NOT NULL);
CREATE TABLE passages (id INTEGER PRIMARY KEY, title TEXT, number INTEGER, text TEXT);
CREATE TABLE vectors (id INTEGER PRIMARY KEY, embedding BLOB NOT NULL);
"""


@dataclass(frozen=True)
class Hit:
    """A passage that was found; `score` is the sum of reciprocal ranks."""

    passage: Passage
    score: float


def build_index(path: Path | str, passages: Sequence[Passage], embedder: Embedder | None) -> None:
    """Write an index; without an embedder it has words alone.

    Raises:
        DataError: there are no passages.
    """
    if not passages:
        raise DataError(f"{path}: an index of no passages")
    meta: dict[str, Any] = {"version": _VERSION, "embedder": None}
    vectors: Vectors | None = None
    if embedder is not None:
        vectors = embedder.embed([_read(passage) for passage in passages])
        # States of language models share a large common part, which says nothing of a text.
        mean = vectors.mean(axis=0)
        vectors = unit(vectors - mean)
        nearest = border(vectors, [passage.title for passage in passages])
        meta |= {"embedder": embedder.name, "mean": mean.tolist(), "border": nearest}
    # Under another name until it is whole: it may be opened by others meanwhile.
    partial = Path(f"{path}.{os.getpid()}.partial")
    partial.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(partial)) as base, base:
        base.executescript(_SCHEMA)
        base.execute("INSERT INTO meta VALUES (?)", (json.dumps(meta),))
        rows = [(i, p.title, p.number, p.text) for i, p in enumerate(passages)]
        base.executemany("INSERT INTO passages VALUES (?, ?, ?, ?)", rows)
        if vectors is not None:
            blobs = [(i, vector.tobytes()) for i, vector in enumerate(vectors)]
            base.executemany("INSERT INTO vectors VALUES (?, ?)", blobs)
    partial.replace(path)


class Index:
    """An index to search; safe for several threads.

    Args:
        path: of `build_index`.
        embedder: the one it was built with; None searches words alone.

    Raises:
        DataError: the file is no index, or one of another embedder.
        ConfigError: bm25s is not installed.
    """

    def __init__(self, path: Path | str, embedder: Embedder | None = None) -> None:
        self.embedder = embedder
        self._meta, self.passages, self._vectors = _opened(path)
        built_with = self._meta["embedder"]
        if embedder is not None and built_with != embedder.name:
            raise DataError(
                f"{path}: was built with {built_with or 'no embedder'}, and would be searched with "
                f"{embedder.name}; build it again"
            )
        self._mean = np.array(self._meta.get("mean", 0.0), dtype=np.float32)
        self._words = _WordSearch([_read(passage) for passage in self.passages])

    def search(self, query: str, *, count: int = 5, dense: bool = True) -> list[Hit]:
        """The best passages first, by the sum of 1 / (60 + rank) over the kinds of search.

        Args:
            query: any text.
            count: at most so many.
            dense: search by vectors, too, where the index has an embedder.
        """
        rankings = [self._words.ranked(query)]
        if dense and self.embedder is not None:
            rankings.append(self._nearest(query))
        scores: dict[int, float] = {}
        for ranking in rankings:
            for rank, place in enumerate(ranking, start=1):
                scores[place] = scores.get(place, 0.0) + 1 / (RANK_CONSTANT + rank)
        best = sorted(scores, key=lambda place: (-scores[place], place))[:count]
        return [Hit(self.passages[place], scores[place]) for place in best]

    def coverage(self, query: str, hits: Sequence[Hit]) -> float:
        """How much of the query the hits speak of, in [0, 1]: the share of its words that stand in
        them, rare words weighing more (by their idf). A query without words is covered.
        """
        return self._words.coverage(query, " ".join(_read(hit.passage) for hit in hits))

    def is_near(self, query: str) -> bool:
        """Whether, by the embedder, a passage is nearer to a query than passages of different
        documents are to each other: it may ask for the same in other words.
        """
        if self.embedder is None:
            return False
        return self._vectors.nearness(self._vector(query)) > float(self._meta["border"])

    def document(self, title: str) -> list[Passage]:
        """The passages of the document of that title, whatever its case."""
        wanted = title.strip().lower()
        return [passage for passage in self.passages if passage.title.lower() == wanted]

    def _nearest(self, query: str) -> list[int]:
        return self._vectors.nearest(self._vector(query), min(_DEPTH, len(self.passages)))

    def _vector(self, query: str) -> Vectors:
        assert self.embedder is not None
        vector: Vectors = unit(self.embedder.embed([query]) - self._mean)[0]
        return vector


class _WordSearch:
    """BM25 over all passages."""

    def __init__(self, texts: Sequence[str]) -> None:
        try:
            import bm25s
        except ImportError:
            raise ConfigError("retrieval needs bm25s: pip install bm25s") from None
        split = [_words(text) for text in texts]
        self._count = len(texts)
        self._containing = Counter(word for words in split for word in set(words))
        self._search = bm25s.BM25()
        self._search.index(split, show_progress=False)

    def ranked(self, query: str) -> list[int]:
        """Places with a word of the query, the best first."""
        known = [word for word in _words(query) if word in self._containing]
        if not known:
            return []
        scores = self._search.get_scores(known)
        best = np.argsort(-scores, kind="stable")[:_DEPTH]
        return [int(place) for place in best if scores[place] > 0]

    def coverage(self, query: str, text: str) -> float:
        weights = {word: self._idf(word) for word in _words(query)}
        found = set(_words(text))
        total = sum(weights.values())
        return sum(w for word, w in weights.items() if word in found) / total if total else 1.0

    def _idf(self, word: str) -> float:
        containing = self._containing[word]
        return math.log(1 + (self._count - containing + 0.5) / (containing + 0.5))


def _opened(path: Path | str) -> tuple[dict[str, Any], list[Passage], "VecTable | Exact"]:
    if not Path(path).is_file():
        raise DataError(f"{path}: no such index")
    try:
        with contextlib.closing(sqlite3.connect(path)) as base:
            meta = json.loads(base.execute("SELECT value FROM meta").fetchone()[0])
            rows = base.execute("SELECT title, number, text FROM passages ORDER BY id").fetchall()
            blobs = base.execute("SELECT embedding FROM vectors ORDER BY id").fetchall()
    except (sqlite3.DatabaseError, TypeError, ValueError) as error:
        raise DataError(f"{path}: no index of passages ({error}); build it again") from error
    if meta.get("version") != _VERSION:
        raise DataError(f"{path}: an index of version {meta.get('version')}; build it again")
    vectors = np.array([np.frombuffer(b[0], dtype=np.float32) for b in blobs], dtype=np.float32)
    table: VecTable | Exact = Exact(vectors)
    if len(vectors):
        with contextlib.suppress(ImportError, AttributeError, sqlite3.Error):
            table = VecTable(vectors)
    return meta, [Passage(*row) for row in rows], table


def is_index(path: Path | str) -> bool:
    """Whether a file is a database, and so no text to make an index of."""
    if not Path(path).is_file():
        return False
    with Path(path).open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def fingerprint(passages: Sequence[Passage], embedder: Embedder | None) -> str:
    """Names what an index would hold: equal ones need not be built twice."""
    name = None if embedder is None else embedder.name
    return hash_json([_VERSION, name, [asdict(passage) for passage in passages]])


def _words(text: str) -> list[str]:
    """Words that say something, without their endings: erupt, erupts and erupted are one."""
    found = [word for word in _WORD.findall(text.lower()) if word not in _STOP_WORDS]
    return [_ENDING.sub("", word) if len(word) > 4 else word for word in found]


def _read(passage: Passage) -> str:
    return f"{passage.title}. {passage.text}"


_COMMON = (
    "a an and are as at be been by did do does for from had has have he her his how in into is it "
    "its of on or she that the their there these they this those to was were what when where which "
    "who whom whose why will with you your"
)
_STOP_WORDS = frozenset(_COMMON.split())
