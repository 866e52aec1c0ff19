"""Stage configs: frozen, documented under each field, and strict about unknown keys."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, model_validator

from accord.core.assets import resolve_asset
from accord.core.errors import ConfigError, describe_choice


class Input:
    """Marks a config field that names an input (a file, a model directory, a hub name).

    The manifest hashes what the field points to, not the path, so that a moved file is the same
    input and a changed file is another one.
    """


InputPath = Annotated[str, AfterValidator(resolve_asset), Input()]


class StageConfig(BaseModel):
    """Base of every stage's `Config`; the string under a field is its help text."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, protected_namespaces=()
    )

    only_pace: ClassVar[frozenset[str]] = frozenset()
    """Fields that change how fast a run goes, and nothing of what it finds."""

    shares_work: ClassVar[bool] = False
    """Whether several processes work together on it; else the main one does, and the others wait.
    """

    seed: int = 0
    """seeds every random choice of the stage"""

    @model_validator(mode="before")
    @classmethod
    def _lone_strings(cls, values: Any) -> Any:
        return cls.with_lists(values) if isinstance(values, dict) else values

    @classmethod
    def with_lists(cls, values: dict[str, Any]) -> dict[str, Any]:
        """One name where several may stand needs no brackets, and files have lists for tuples."""
        kinds = {name: get_origin(field.annotation) for name, field in cls.model_fields.items()}

        def meant(key: str, value: Any) -> Any:
            if kinds.get(key) is tuple and isinstance(value, list):
                return tuple(value)
            return [value] if kinds.get(key) is list and isinstance(value, str) else value

        return {key: meant(key, value) for key, value in values.items()}

    @classmethod
    def parse(cls, values: dict[str, Any], *, where: str) -> Self:
        """Validate `values`; `where` names their origin (a file, a step) in the error."""
        unknown = [key for key in values if key not in cls.model_fields]
        if unknown:
            raise ConfigError(
                f"{where}: unknown key {describe_choice(unknown[0], list(cls.model_fields))}"
            )
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"]) or "config"
            got = "" if first["type"] == "missing" else f", got {first['input']!r}"
            raise ConfigError(f"{where}: {field}: {first['msg']}{got}") from None

    @classmethod
    def input_fields(cls) -> list[str]:
        """Names of the fields that point to inputs (also inside lists, dicts and optionals)."""
        return [name for name, field in cls.model_fields.items() if _mentions_input(field)]


def _mentions_input(annotation: Any) -> bool:
    metadata: list[Any] = [
        *getattr(annotation, "metadata", ()),
        *getattr(annotation, "__metadata__", ()),
    ]
    if any(isinstance(mark, Input) for mark in metadata):
        return True
    inner = getattr(annotation, "annotation", annotation)
    parts: tuple[Any, ...] = getattr(inner, "__args__", ())
    return any(_mentions_input(part) for part in parts)


def read_config_file(path: Path) -> dict[str, Any]:
    """A TOML or YAML file as a dict.

    Raises:
        ConfigError: the file is missing, has another suffix, or cannot be parsed.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such config file")
    try:
        if path.suffix == ".toml":
            return tomllib.loads(path.read_text(encoding="utf-8"))
        if path.suffix in {".yaml", ".yml"}:
            import yaml

            loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
            if not isinstance(loaded, dict):
                raise ConfigError(f"{path}: expected a mapping at the top of the file")
            return loaded
    except (tomllib.TOMLDecodeError, ValueError) as error:
        raise ConfigError(f"{path}: not valid {path.suffix[1:].upper()}: {error}") from None
    raise ConfigError(f"{path}: expected a .toml or .yaml file")
