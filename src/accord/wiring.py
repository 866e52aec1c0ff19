"""The only file that names concrete engines, stores and loggers, and where stages are looked up."""

import dataclasses
import functools
import importlib
from pathlib import Path
from typing import Any

from accord.core.config import StageConfig
from accord.core.errors import ConfigError, describe_choice
from accord.core.manifest import strings_in
from accord.core.sampling_config import SamplingConfig
from accord.core.store_config import StorePlace
from accord.rewards.functions import source_hash
from accord.stages import STAGES

_MOST_HELD_UP = 16
"""Steps, a fraction of a second: moving the cache so seldom costs who runs next to nothing."""


def stage_config(stage: str) -> type[StageConfig]:
    """The stage's `Config` class; imports no torch.

    Raises:
        ConfigError: there is no such stage.
    """
    if stage not in STAGES:
        raise ConfigError(f"no stage {describe_choice(stage, list(STAGES))}")
    config: type[StageConfig] = importlib.import_module(f"{STAGES[stage]}.config").Config
    return config


def stage_run(stage: str) -> Any:
    """The stage's `run` function."""
    return importlib.import_module(f"{STAGES[stage]}.run").run


def stage_outputs(stage: str) -> list[str]:
    """Fields of the stage's `Result` that are paths: what later steps can name."""
    result = importlib.import_module(f"{STAGES[stage]}.run").Result
    return [field.name for field in dataclasses.fields(result) if field.type is Path]


def protocols_for(config: StageConfig) -> dict[str, Any]:
    """Concrete implementations of the protocols that the stage's `run` asks for by keyword."""
    wanted: dict[str, Any] = {}
    if isinstance(config, SamplingConfig):
        wanted["engine_factory"] = _engine_factory_of(config)
    if isinstance(config, StorePlace):
        wanted["store_factory"] = functools.partial(preference_store, config)
    return wanted


def preference_store(config: StorePlace, own: Path) -> Any:
    """The `PreferenceStore` that a config names; where it names no project, that of the step."""
    from accord.store.source import StoredPreferences

    if config.project is None:
        return StoredPreferences("preferences", str(own), may_be_new=True)
    return StoredPreferences(config.project, config.database, may_be_new=config.fills_the_store)


_NAMES_FUNCTIONS = (
    "reward_funcs", "gold_funcs", "scorer", "behaviours", "annotators", "refresh_scorer",
    "refresh_annotators", "environment", "environment_tools",
)  # fmt: skip
"""Fields of stages' configs."""


def stored_inputs(config: StageConfig) -> dict[str, list[dict[str, str | None]]]:
    """What a stage takes from a store, as `manifest.describe_inputs` has files: a hash of what
    stands in place of a file's, so that new judgements are another input. What a stage puts there
    itself is no input.
    """
    if not isinstance(config, StorePlace) or config.project is None or config.fills_the_store:
        return {}
    store = preference_store(config, Path())
    value = f"{store.location} project {store.project}"
    return {"database": [{"value": value, "sha256": store.state()}]}


def function_sources(config: StageConfig) -> dict[str, str]:
    """By dotted name in a config, the SHA-256 of its source, where there is one of the user's."""
    fields = [name for name in _NAMES_FUNCTIONS if name not in config.input_fields()]
    names = [name for field in fields for name in strings_in(getattr(config, field, None))]
    found = {name: source_hash(name) for name in names}
    return {name: sha256 for name, sha256 in found.items() if sha256 is not None}


def _engine_factory_of(config: SamplingConfig) -> Any:
    if config.engine_url is not None:  # engine is "remote"
        from accord.engine.remote import RemoteEngine

        return functools.partial(RemoteEngine, url=config.engine_url)
    return engine_factory(config.engine)


def engine_factory(
    name: str,
    *,
    prefix_cache_mb: int = 0,
    cache_mb: int | None = None,
    for_clients: bool = False,
) -> Any:
    """The `EngineFactory` of "local" or "vllm", which sample in this process.

    Args:
        name: of the engine.
        prefix_cache_mb: as of `LocalEngine`; vLLM keeps prompts in its own way.
        cache_mb: MiB for keys and values: local takes up to them (None: no limit), vLLM takes them
            at once (None: a GiB).
        for_clients: nobody trains the policy, and those who ask wait for answers: none is long held
            up by who runs, and log-probs are the model's own, whatever the temperature. Training
            wants tokens a second, and log-probs at its temperature.
    """
    if name == "vllm":
        from accord.engine.vllm import VllmEngine

        options: dict[str, Any] = {"logprobs_mode": "raw_logprobs"} if for_clients else {}
        if cache_mb is not None:
            options["cache_bytes"] = cache_mb * 2**20
        return functools.partial(VllmEngine, **options)
    from accord.engine.local import LocalEngine

    return functools.partial(
        LocalEngine,
        prefix_cache_mb=prefix_cache_mb,
        cache_mb=cache_mb,
        is_alone=for_clients,
        most_held_up=_MOST_HELD_UP if for_clients else None,
    )
