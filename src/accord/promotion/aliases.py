"""A file of aliases: which model each name leads to now, and which it led to before.

Beside the file lies a copy of every model that it names: a run that is done again, moved or deleted
takes no deployed model with it, and the folder can be copied to another machine as it is. Hard
links would save the space, and share whatever is written into a file later.
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from accord.core import files
from accord.core.errors import CheckpointError, ConfigError, NotFoundError, describe_choice

DIGITS = 12
"""Of a digest that tell models apart in names."""


class Deployment(BaseModel):
    """One model behind a name; `model` and `run` are relative to the file's folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    sha256: str
    deployed_at: str
    run: str


class Pointer(BaseModel):
    """Where an alias leads; `before` has the latest first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    serves: Deployment
    before: tuple[Deployment, ...] = ()


_FILE = TypeAdapter(dict[str, Pointer])


def read_aliases(path: Path) -> dict[str, Pointer]:
    """Every alias of a file.

    Raises:
        NotFoundError: there is no such file.
        CheckpointError: it is no file of aliases, or cannot be read.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise NotFoundError(f"{path}: no such file of aliases; accord deploy makes one") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        return _FILE.validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise CheckpointError(
            f"{path}: no file of aliases as accord deploy writes it ({place}: {first['msg']})"
        ) from None


def deploy(path: Path, alias: str, model: Path, *, sha256: str, at: str, run: Path) -> Deployment:
    """Let an alias lead to a model from now on; the one before is kept for `roll_back`.

    Args:
        path: the file; it and its folder are made where they are not there.
        model: the model's directory.
        sha256: of it.
        at: the time, for people.
        run: what let it through.

    Raises:
        ConfigError: the directory has changed since it was hashed.
        StorageError: the disk refused; the alias is as it was.
    """
    with files.storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path):
        known = read_aliases(path) if path.exists() else {}
        kept = _keep(model, path.parent, sha256)
        made = Deployment(
            model=kept, sha256=sha256, deployed_at=at, run=os.path.relpath(run, path.parent)
        )
        before: tuple[Deployment, ...] = ()
        if alias in known:
            last = known[alias]
            is_other = last.serves.sha256 != sha256
            before = (last.serves, *last.before) if is_other else last.before
        _write(path, {**known, alias: Pointer(serves=made, before=before)})
    return made


def roll_back(path: Path, alias: str | None = None) -> tuple[str, Deployment]:
    """Let an alias lead to what it led to before; returns its name and that.

    Args:
        alias: may be left out where the file has one.

    Raises:
        ConfigError: no such alias, nothing was before, or that model has changed since.
    """
    with _locked(path):
        known = read_aliases(path)
        names = list(known)
        if alias is None and len(names) > 1:
            raise ConfigError(f"{path}: has the aliases {', '.join(names)}; name one by --alias")
        name = names[0] if alias is None and names else str(alias)
        if name not in known:
            raise ConfigError(f"{path}: no alias {describe_choice(name, names)}")
        if not known[name].before:
            raise ConfigError(f"{path}: alias {name!r} led to nothing before")
        last, *older = known[name].before
        checked_model(path, last)
        _write(path, {**known, name: Pointer(serves=last, before=tuple(older))})
    return name, last


def checked_model(path: Path, deployment: Deployment) -> Path:
    """The directory of a deployment, whose files are those that passed the gate.

    Raises:
        ConfigError: it is not there, or a file of it has changed.
    """
    model = path.parent / deployment.model
    if not (model / "config.json").is_file():
        raise ConfigError(f"{model}: no model, but {path} leads there; deploy it again")
    if files.hash_path(model) != deployment.sha256:
        raise ConfigError(
            f"{model}: has changed since it was deployed, so nobody knows how it behaves; deploy "
            "it again, through its gate"
        )
    return model


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One writer at a time; readers need no lock, since the file is replaced as a whole."""
    if not path.parent.is_dir():
        raise NotFoundError(f"{path}: no such file of aliases; accord deploy makes one")
    with (
        files.storage_errors(path),
        path.with_name(f".{path.name}.lock").open("w") as lock,
    ):
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _write(path: Path, aliases: dict[str, Pointer]) -> None:
    files.write_json(path, {name: one.model_dump(mode="json") for name, one in aliases.items()})


def _keep(model: Path, folder: Path, sha256: str) -> str:
    """Copy the model beside the file, under its digest; returns that name."""
    name = sha256[:DIGITS]
    kept = folder / name
    if kept.is_dir() and files.hash_path(kept) == sha256:
        return name
    with files.atomic_directory(kept) as target:
        shutil.copytree(model, target, dirs_exist_ok=True)
        if files.hash_path(target) != sha256:
            raise ConfigError(f"{model}: changed while it was deployed; run it again")
    return name
