"""What a stage was run on: input hashes, parents, versions; and whether it must run again."""

import importlib.metadata
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from accord import __version__
from accord.core import files
from accord.core.config import StageConfig

_RECORDED = ("torch", "transformers", "tokenizers", "peft", "numpy")


def describe_inputs(config: StageConfig) -> dict[str, list[dict[str, str | None]]]:
    """By field: each named input and its SHA-256 (a hub name, being unpinned, has none)."""
    described: dict[str, list[dict[str, str | None]]] = {}
    for field in config.input_fields():
        value = getattr(config, field)
        entries = []
        for name in strings_in(value):
            path = Path(name)
            entries.append(
                {"value": name, "sha256": files.hash_path(path) if path.exists() else None}
            )
        if entries:
            described[field] = entries
    return described


def strings_in(value: Any) -> list[str]:
    """All strings in a value, inside lists and dicts too, in order."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [s for item in value for s in strings_in(item)] if isinstance(value, list) else []


def fingerprint(stage: str, config: StageConfig, inputs: dict[str, Any]) -> str:
    """Equal when a second run would do the same: the config with contents in place of paths.

    A moved file is the same input; names of a dict (of policies, say) still count.
    """
    # A run that a limit stopped goes on more slowly: it is the same run.
    values = config.model_dump(mode="json", exclude=set(config.only_pace))
    for field, entries in inputs.items():
        kept = list(values[field]) if isinstance(values[field], dict) else None
        values[field] = [kept, [entry["sha256"] or entry["value"] for entry in entries]]
    return files.hash_json({"stage": stage, "config": values})


def new_manifest(
    stage: str, config: StageConfig, inputs: dict[str, Any], parents: list[str]
) -> dict[str, Any]:
    """The manifest as written when a stage starts."""
    from accord.core.device import describe_hardware

    return {
        "stage": stage,
        "status": "running",
        "fingerprint": fingerprint(stage, config, inputs),
        "seed": config.seed,
        "inputs": inputs,
        "parents": parents,
        "versions": {
            "accord": __version__,
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in _RECORDED},
        },
        "hardware": describe_hardware(),
        "started_at": now(),
    }


def now() -> str:
    """UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
