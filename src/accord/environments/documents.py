"""Documents to retrieve from, and the passages that they are cut into."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from accord.core.errors import DataError
from accord.corpora.readers import read_rows

TEXT_FILES = (".txt", ".md", ".rst")
_SENTENCE = re.compile(r"(?<=[.!?])\s+")


@dataclass(frozen=True)
class Document:
    """A title and a text."""

    title: str
    text: str


@dataclass(frozen=True)
class Passage:
    """A piece of a document; `number` counts its pieces from 0."""

    title: str
    number: int
    text: str


def load_documents(place: str) -> list[Document]:
    """Text files of a folder (and those below it), or rows of `title` and `text`.

    Raises:
        DataError: there is nothing to read, a file is no text, or a row lacks a column.
    """
    path = Path(place)
    documents = _of_folder(path) if path.is_dir() else _of_rows(place)
    if not documents:
        kinds = ", ".join(TEXT_FILES)
        raise DataError(f"{place}: no documents; expected files that end with {kinds}, or rows")
    return documents


def _of_folder(folder: Path) -> list[Document]:
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in TEXT_FILES and p.is_file())
    documents = []
    for path in paths:
        try:
            text = path.read_text(encoding="utf-8")
        except (UnicodeDecodeError, OSError) as error:
            raise DataError(f"{path}: cannot be read as UTF-8 text ({error})") from error
        if "\0" in text:
            raise DataError(f"{path}: holds zero bytes, so it is no text; take it out")
        if text.strip():
            documents.append(Document(path.relative_to(folder).with_suffix("").as_posix(), text))
    return documents


def _of_rows(reference: str) -> list[Document]:
    documents = []
    for number, row in enumerate(read_rows(reference), start=1):
        title, text = row.get("title"), row.get("text")
        if not isinstance(title, str) or not isinstance(text, str) or not text.strip():
            raise DataError(f"{reference}, row {number}: expected a title and a text")
        documents.append(Document(title, text))
    return documents


def passages_of(
    documents: Sequence[Document], *, words: int = 100, overlap: int = 20
) -> list[Passage]:
    """Pieces of about so many words, cut between sentences; neighbours share about `overlap`.

    Raises:
        ValueError: the overlap is not smaller than a piece.
    """
    if not 0 <= overlap < words:
        raise ValueError(f"overlap must lie in [0, {words}), got {overlap}")
    return [
        Passage(document.title, number, text)
        for document in documents
        for number, text in enumerate(_pieces(document.text, words, overlap))
    ]


def _pieces(text: str, words: int, overlap: int) -> Iterator[str]:
    current: list[list[str]] = []
    fresh = False
    for sentence in _short(_SENTENCE.split(text.strip()), words):
        if fresh and sum(map(len, current)) + len(sentence) > words:
            yield _joined(current)
            while current and sum(map(len, current)) > overlap:
                current.pop(0)
        current.append(sentence)
        fresh = True
    if fresh:
        yield _joined(current)


def _short(sentences: Sequence[str], words: int) -> Iterator[list[str]]:
    """Sentences in words; what is longer than a whole piece is cut."""
    for sentence in sentences:
        split = sentence.split()
        for start in range(0, len(split), words):
            yield split[start : start + words]


def _joined(sentences: Sequence[Sequence[str]]) -> str:
    return " ".join(word for sentence in sentences for word in sentence)
