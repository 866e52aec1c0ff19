"""Deployment: hold a gate against what was measured, and let an alias lead to what passed."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accord.core.errors import ConfigError
from accord.core.files import hash_path
from accord.core.manifest import now
from accord.core.run_dir import RunDir, run_of
from accord.models.adapter_files import is_adapter
from accord.models.heads import is_reward_model
from accord.promotion.aliases import deploy
from accord.promotion.evidence import read_evidence
from accord.promotion.gate import check, read_gate, verdict
from accord.stages.deployment.config import Config


@dataclass(frozen=True)
class Result:
    """Whether the policy went live, and by what.

    `gate` has `held` and `conditions` (`promotion.gate.Finding`s). Where it did not hold, the alias
    is as it was. `sha256` is of the policy's directory; `aliases` is relative to the step.
    """

    alias: str
    aliases: Path
    sha256: str
    deployed: bool
    gate: dict[str, Any]


def run(config: Config, run_dir: RunDir) -> Result:
    """Deploy, or say what fell short.

    Raises:
        ConfigError: the model is no policy's directory, or a run measured other weights.
    """
    conditions = read_gate(config.gate)
    model = _policy(config.model_name_or_path)
    sha256 = hash_path(model)
    measured = read_evidence([*config.evaluations, *config.red_teams], sha256)
    found = verdict(check(conditions, measured))
    aliases = _aliases(config, run_dir)
    if found["held"]:
        deploy(aliases, config.alias, model, sha256=sha256, at=now(), run=run_dir.path)
    return Result(
        alias=config.alias,
        aliases=Path(os.path.relpath(aliases, run_dir.path)),
        sha256=sha256,
        deployed=found["held"],
        gate=found,
    )


def _policy(name: str) -> Path:
    """The directory, if whoever hashes it hashes all that will answer."""
    path = Path(name)
    if is_adapter(name):
        raise ConfigError(
            f"deploy: {name}: holds adapters, whose base may change without them; deploy the "
            "merged model (model/ beside adapter/, or accord export --to hf)"
        )
    if not (path / "config.json").is_file():
        raise ConfigError(
            f"deploy: {name}: expected a model's directory; one on a hub can change after its gate"
        )
    if is_reward_model(name):
        raise ConfigError(f"deploy: {name} is a reward model; an alias leads to a policy")
    return path


def _aliases(config: Config, run_dir: RunDir) -> Path:
    """Not in the step's own directory, which is moved aside when the step is done again."""
    if config.aliases:
        return Path(config.aliases)
    return run_of(run_dir.path) / "deployed" / "aliases.json"
