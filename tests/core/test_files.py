"""Writes are whole or not at all; a full disk is one clear error and no damage."""

import errno
import os
from pathlib import Path

import pytest

from accord.core import files
from accord.core.errors import StorageError


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_full_disk_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    files.write_json(path, {"x": 1})
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(StorageError, match=r"cannot write .*a\.json: No space left"):
        files.write_json(path, {"x": 2})
    assert path.read_text() == '{\n  "x": 1\n}\n'
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_full_disk_keeps_the_old_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model"
    with files.atomic_directory(path) as new:
        (new / "weights").write_text("old")
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(StorageError), files.atomic_directory(path) as new:
        (new / "weights").write_text("new")
    assert (path / "weights").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_a_failure_inside_leaves_no_directory(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), files.atomic_directory(tmp_path / "model"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_directory_replaces_the_old_one(tmp_path: Path) -> None:
    for text in ("old", "new"):
        with files.atomic_directory(tmp_path / "model") as new:
            (new / text).write_text(text)
    assert [p.name for p in (tmp_path / "model").iterdir()] == ["new"]
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_hash_follows_content_and_names_not_place(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_text("1")
    assert files.hash_path(tmp_path / "a") == files.hash_path(tmp_path / "b")
    (tmp_path / "b" / "x").rename(tmp_path / "b" / "y")
    assert files.hash_path(tmp_path / "a") != files.hash_path(tmp_path / "b")
