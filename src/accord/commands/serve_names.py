"""The names of accord serve: models, aliases for them, and shadows."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from accord.core.errors import ConfigError
from accord.promotion.aliases import checked_model, read_aliases

if TYPE_CHECKING:
    from accord.serving.policies import Alias


def deployed(path: Path) -> list[str]:
    """NAME=MODEL of every alias; a model that is no longer what passed its gate is an error."""
    aliases = read_aliases(path)
    return [f"{name}={checked_model(path, one.serves)}" for name, one in aliases.items()]


def named_models(models: Sequence[str]) -> dict[str, str]:
    """Directories by the names that clients ask for; one without a name has its folder's."""
    found: dict[str, str] = {}
    for given in models:
        name, has_name, path = given.partition("=")
        if not has_name:
            parts = [p for p in Path(given.rstrip("/")).parts if p != "model"]
            name, path = (parts[-1] if parts else given).removeprefix("accord:"), given
        if not name or name in found:
            raise ConfigError(f"{given}: name each model once: NAME=MODEL")
        found[name] = path
    return found


def aliases_of(aliases: Sequence[str], shadows: Sequence[str]) -> "dict[str, Alias]":
    """What --alias and --shadow say."""
    from accord.serving.policies import Alias

    shadowed = dict(_pair(given, "--shadow") for given in shadows)
    found = {}
    for given in aliases:
        name, arms = _pair(given, "--alias")
        shares = {}
        for arm in arms.split(","):
            model, _, share = arm.rpartition(":") if ":" in arm else (arm, "", "1")
            try:
                shares[model] = float(share)
            except ValueError:
                raise ConfigError(f"--alias {given}: {share!r} is no share") from None
        found[name] = Alias.of(shares, shadowed.pop(name, None))
    if shadowed:
        raise ConfigError(f"--shadow {next(iter(shadowed))}: there is no such alias")
    return found


def _pair(given: str, option: str) -> tuple[str, str]:
    name, found, rest = given.partition("=")
    if not (name and found and rest):
        raise ConfigError(f"{option} {given}: expected NAME=...")
    return name, rest
