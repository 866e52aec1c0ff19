"""Configs refuse what they do not know, and say what was meant."""

from pathlib import Path

import pytest
from pydantic import Field

from accord.core.config import InputPath, StageConfig, read_config_file
from accord.core.errors import ConfigError


class Example(StageConfig):
    """A stage with a few knobs."""

    model: InputPath
    """where the model is"""
    others: dict[str, InputPath] = Field(default={})
    """more models"""
    more: list[InputPath] | None = None
    """even more"""
    learning_rate: float = 0.1
    """peak"""


@pytest.mark.parametrize("key", ["lr", "learning_rat", "rate"])
def test_unknown_key_names_the_nearest(key: str) -> None:
    with pytest.raises(ConfigError, match=r"run\.toml: unknown key .* 'learning_rate'"):
        Example.parse({"model": "m", key: 1}, where="run.toml")


def test_missing_and_wrong_values_name_the_field() -> None:
    with pytest.raises(ConfigError, match="here: model: Field required"):
        Example.parse({}, where="here")
    with pytest.raises(ConfigError, match="learning_rate.*'fast'"):
        Example.parse({"model": "m", "learning_rate": "fast"}, where="here")


def test_input_fields_are_found_inside_containers() -> None:
    assert Example.input_fields() == ["model", "others", "more"]


def test_unknown_asset_is_refused() -> None:
    with pytest.raises(ConfigError, match="ships no such asset"):
        Example.parse({"model": "accord:nothing"}, where="here")


def test_config_files(tmp_path: Path) -> None:
    toml, yaml = tmp_path / "a.toml", tmp_path / "a.yaml"
    toml.write_text("x = 1\n")
    yaml.write_text("x: 1\n")
    assert read_config_file(toml) == read_config_file(yaml) == {"x": 1}
    toml.write_text("x = \n")
    with pytest.raises(ConfigError, match="not valid TOML"):
        read_config_file(toml)
    yaml.write_text("- 1\n")
    with pytest.raises(ConfigError, match="expected a mapping"):
        read_config_file(yaml)
    with pytest.raises(ConfigError, match="no such config file"):
        read_config_file(tmp_path / "b.toml")
