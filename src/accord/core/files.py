"""Atomic writes and content hashes: temporary name, fsync, rename."""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from accord.core import processes
from accord.core.errors import StorageError


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn a refused write into a `StorageError` that says what was not written."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EFBIG}:
            raise StorageError(
                f"cannot write {path}: {error.strerror}; what was saved before is untouched: "
                "make room (or choose another folder) and run the same command again"
            ) from error
        raise


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write a whole file so that a reader sees the old text or the new, never a part.

    Of several processes the main one writes.
    """
    if not processes.is_main():
        processes.wait()
        return
    temporary = path.with_name(f".{path.name}.tmp")
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _fsync(path.parent)
    processes.wait()


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically; keys keep their order."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON object a line, atomically."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


@contextlib.contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """A new directory that appears under its name only when it is complete and on disk.

    An existing directory of that name is replaced in the last step. Of several processes the main
    one's appears, and all go on when it is there; what the others write is thrown away.
    """
    if not processes.is_main():
        with tempfile.TemporaryDirectory() as unwanted:
            yield Path(unwanted)
        processes.wait()
        return
    temporary = path.with_name(f".{path.name}.tmp")
    with storage_errors(path):
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        try:
            yield temporary
            for file in temporary.rglob("*"):
                _fsync(file)
            _fsync(temporary)
            if path.exists():
                previous = path.with_name(f".{path.name}.previous")
                shutil.rmtree(previous, ignore_errors=True)
                path.rename(previous)
                temporary.rename(path)
                shutil.rmtree(previous)
            else:
                temporary.rename(path)
            _fsync(path.parent)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    processes.wait()


def hash_path(path: Path) -> str:
    """SHA-256 of a file, or of a directory's relative names and contents, in hex."""
    if path.is_file():
        with path.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")):
        if file.is_file():
            digest.update(f"{file.relative_to(path)}\0{hash_path(file)}\n".encode())
    return digest.hexdigest()


def versioned(name: str) -> str:
    """A model's name, and of a directory a hash of its files: other weights are another model."""
    path = Path(name)
    return f"{path.resolve()}@{hash_path(path)[:12]}" if path.exists() else name


def hash_json(value: Any) -> str:
    """SHA-256 of a JSON value with sorted keys, in hex."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
