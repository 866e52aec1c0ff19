"""The file of a run: named inputs, steps in the order of the loop, and rounds of some of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from accord.core.config import read_config_file
from accord.core.errors import ConfigError, describe_choice


class RunConfig(BaseModel):
    """Steps with `each_round = true` are run `rounds` times, the others once.

    A reference in their inputs may say which round it means:

        ppo.model                          of this round; after the rounds, of the last
        last.ppo.model or sft.model        of the round before; in the first round what follows
        every.preferences.comparisons      of all rounds so far, in a list
        earlier.preferences.prompts        of all rounds before this one, in a list
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    seed: int = 0
    rounds: int = Field(default=1, ge=1)
    inputs: dict[str, str] = Field(default={})
    step: list[dict[str, Any]]


def read_run_config(
    path: Path, *, inputs: Mapping[str, str], settings: Mapping[str, Any]
) -> RunConfig:
    """Read a run's file and put flags over it.

    Args:
        inputs: replace entries of `[inputs]`.
        settings: `STEP.FIELD` -> value, over that step's config (in every round).

    Raises:
        ConfigError: unknown keys, steps or inputs; each error names the nearest known one.
    """
    values = read_config_file(path)
    try:
        config = RunConfig.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            raise ConfigError(
                f"{path}: unknown key {describe_choice(key, list(RunConfig.model_fields))}"
            ) from None
        raise ConfigError(f"{path}: {key}: {first['msg']}") from None
    for name in inputs:
        if name not in config.inputs:
            raise ConfigError(f"{path}: no input {describe_choice(name, list(config.inputs))}")
    steps = [dict(step) for step in config.step]
    for key, value in settings.items():
        name, _, field = key.partition(".")
        chosen = [step for step in steps if step.get("name") == name]
        if not chosen or not field:
            names = [str(step.get("name")) for step in steps]
            raise ConfigError(f"--set {key}: no step {describe_choice(name, names)}")
        chosen[0][field] = value
    return config.model_copy(update={"inputs": {**config.inputs, **inputs}, "step": steps})


def steps_of(config: RunConfig, *, where: str) -> list[dict[str, Any]]:
    """Every step once for each time that it is run, in order, its references made plain.

    The steps of a round are named round-K/NAME, unless there is only one round; each round draws
    by seeds of its own.

    Raises:
        ConfigError: steps between the first and the last of a round that are in none.
    """
    marks = [bool(step.get("each_round")) for step in config.step]
    plain = [{k: v for k, v in step.items() if k != "each_round"} for step in config.step]
    if True not in marks:
        return plain
    begin, end = marks.index(True), len(marks) - marks[::-1].index(True)
    if not all(marks[begin:end]):
        name = config.step[begin + marks[begin:end].index(False)].get("name")
        raise ConfigError(f"{where}, step {name!r}: stands between steps with each_round = true")
    names = {str(step.get("name")) for step in plain[begin:end]}
    rounds = _Rounds(names, config.rounds, where)
    found = [*plain[:begin]]
    for number in range(1, config.rounds + 1):
        for step in plain[begin:end]:
            seed = step.get("seed", config.seed) + number - 1
            inputs = rounds.meant(step.get("inputs", {}), number)
            name = rounds.named(str(step.get("name")), number)
            found.append({**step, "name": name, "seed": seed, "inputs": inputs})
    return found + [
        {**step, "inputs": rounds.meant(step.get("inputs", {}), config.rounds)}
        for step in plain[end:]
    ]


class _Rounds:
    """What references mean in each round."""

    def __init__(self, names: set[str], count: int, where: str) -> None:
        self.names = names
        self.count = count
        self.where = where

    def named(self, step: str, number: int) -> str:
        return step if self.count == 1 else f"round-{number}/{step}"

    def meant(self, value: Any, number: int) -> Any:
        """The inputs of a step of this round."""
        if isinstance(value, dict):
            return {key: self.meant(inner, number) for key, inner in value.items()}
        if isinstance(value, list):
            return [meant for inner in value for meant in self._entries(inner, number)]
        return self._reference(value, number) if isinstance(value, str) else value

    def _entries(self, value: Any, number: int) -> list[Any]:
        if isinstance(value, str):
            word, _, reference = value.partition(".")
            if word in ("every", "earlier"):
                rounds = range(1, number + (word == "every"))
                return [self._reference(reference, n) for n in rounds]
        return [self.meant(value, number)]

    def _reference(self, value: str, number: int) -> str:
        if value.startswith(("every.", "earlier.")):
            raise ConfigError(f"{self.where}: {value!r} is several; it stands in a list")
        if value.startswith("last."):
            reference, has_other, other = value.removeprefix("last.").partition(" or ")
            if number == 1 and not has_other:
                raise ConfigError(
                    f"{self.where}: {value!r} has no meaning in the first round; add ' or ' and "
                    "what it starts from"
                )
            return self._reference(reference, number - 1) if number > 1 else other.strip()
        step, _, field = value.partition(".")
        return f"{self.named(step, number)}.{field}" if step in self.names else value
