"""What finished runs say of one model; a run of other weights says nothing of it."""

import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from accord.core.errors import ConfigError, DataError
from accord.promotion.figures import OF_ONE_MODEL, Figures, of_policy


def read_evidence(places: Sequence[str], sha256: str) -> dict[str, Figures]:
    """Figures of a model, by run.

    Args:
        places: of runs of evaluate, benchmark or red_team: their directories, or `result.json`s.
        sha256: of the model's directory, as `core.files.hash_path` has it.

    Raises:
        DataError: a place holds no finished run.
        ConfigError: a run measures nothing of models, measured another one, or is named twice.
    """
    steps = [(Path(p).parent if Path(p).is_file() else Path(p)).resolve() for p in places]
    if len(set(steps)) < len(steps):
        raise ConfigError(f"a run is named twice: {', '.join(places)}")
    names = [step.name for step in steps]
    return {
        step.name if names.count(step.name) == 1 else str(step): _figures(step, sha256)
        for step in steps
    }


def _figures(step: Path, sha256: str) -> Figures:
    manifest, result = (_json(step / name) for name in ("manifest.json", "result.json"))
    stage = manifest.get("stage")
    if stage == "evaluate":
        names = _policies(step)
        digests = _digests(manifest, "policies")
        of_it = [name for name, digest in zip(names, digests, strict=True) if digest == sha256]
        if of_it:
            # The baseline has no win rate against itself; the same weights may have another name.
            return of_policy(result, min(of_it, key=lambda name: name == result["baseline"]))
    elif stage in OF_ONE_MODEL:
        if _digests(manifest, "model_name_or_path") == [sha256]:
            return OF_ONE_MODEL[stage](result)
    else:
        raise ConfigError(
            f"{step}: a run of {stage}; expected one of evaluate, {', '.join(OF_ONE_MODEL)}"
        )
    raise ConfigError(
        f"{step}: measured other weights than those that are to be deployed (SHA-256 "
        f"{sha256[:12]}...); run it on this model's directory, and change nothing in it after"
    )


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected the directory of a finished run")
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path}: not valid JSON ({error})") from None
    return value


def _policies(step: Path) -> list[str]:
    """Their names, in the order of the manifest's hashes."""
    path = step / "config.toml"
    if not path.is_file():
        raise DataError(f"{path}: no such file; it names the policies that were evaluated")
    return list(tomllib.loads(path.read_text(encoding="utf-8"))["policies"])


def _digests(manifest: dict[str, Any], field: str) -> list[str | None]:
    return [entry["sha256"] for entry in manifest["inputs"].get(field, [])]
