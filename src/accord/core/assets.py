"""What ships inside the package, by name: `accord:base` is the embedded base model."""

from pathlib import Path

from accord.core.errors import ConfigError

ASSETS = Path(__file__).resolve().parent.parent / "assets"

_PREFIX = "accord:"


def resolve_asset(name: str) -> str:
    """A path for names like `accord:base`; any other string as it is.

    Raises:
        ConfigError: the package has no such asset.
    """
    if not name.startswith(_PREFIX):
        return name
    path = ASSETS / name.removeprefix(_PREFIX)
    if not path.exists():
        raise ConfigError(f"{name}: the package ships no such asset")
    return str(path)
