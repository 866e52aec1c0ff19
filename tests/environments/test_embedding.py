"""Models of sentences, with a package of that name that a test made up."""

import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accord.core.errors import ConfigError, DataError
from accord.environments.named import Settings, embedder_of, index_of

pytest.importorskip("bm25s")
WORDS = ("capital", "metropolis", "volcano", "mountain")


class Fake:
    """Knows that a metropolis is a capital, and that a volcano is a mountain."""

    def __init__(self, model: str, device: str) -> None:
        if (Path(model) / "broken").exists():
            raise OSError("no weights")

    def encode(self, texts: list[str], **_: Any) -> Any:
        counts = [[float(word in text.lower()) for word in WORDS] for text in texts]
        found = np.array(counts, dtype=np.float64)
        return np.stack([found[:, :2].sum(1), found[:, 2:].sum(1)], axis=1) + 0.01


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    package: Any = types.ModuleType("sentence_transformers")
    package.SentenceTransformer = Fake
    monkeypatch.setitem(sys.modules, "sentence_transformers", package)
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "modules.json").write_text("[]")
    return folder


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "Paris.txt").write_text("Paris is the capital of France.")
    (folder / "Tambora.txt").write_text("Tambora is a mountain.")
    return str(folder)


def test_other_words_for_the_same_are_found(model: Path, notes: str) -> None:
    index = index_of(Settings(documents=notes, embedding_model=str(model)))
    assert index.search("Which metropolis?")[0].passage.title == "Paris"
    assert index.search("A volcano?")[0].passage.title == "Tambora"
    assert index_of(Settings(documents=notes)).search("Which metropolis?") == []


def test_another_model_s_index_is_refused(model: Path, notes: str, tiny_model_dir: Path) -> None:
    from accord.cli import main

    path = model.parent / "notes.index"
    assert main(["data", "index", notes, "--output", str(path), "--model", str(model)]) == 0
    with pytest.raises(DataError, match="was built with sentences by"):
        index_of(Settings(documents=str(path), embedding_model=str(tiny_model_dir)))


def test_what_is_missing_is_told(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (model / "broken").touch()
    with pytest.raises(ConfigError, match="cannot be loaded"):
        embedder_of(str(model))
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ConfigError, match=r"accord\[embeddings\]"):
        embedder_of(str(model))
