"""Models from directories, ready to be served; those that stand on one base share its weights."""

import functools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, PreTrainedModel

from accord.core.device import default_device
from accord.core.files import versioned
from accord.core.interfaces import EngineFactory
from accord.core.passing_thread import in_passing_thread
from accord.corpora.encoding import ChatEncoder
from accord.models.adapter_files import base_of, is_adapter, is_plain
from accord.models.adapters import add_adapters
from accord.models.loading import context_length, load_policy, load_tokenizer, named_errors
from accord.rewards.learned import LearnedReward
from accord.serving.metrics import Metrics, ModelWatch
from accord.serving.scheduler import Scheduler
from accord.serving.served import DEFAULT_MAX_TOKENS, Served, ServedReward

_REWARD_TOKENS = 4096
"""Where a reward model's config names no context."""


def load_policies(
    models: Mapping[str, str],
    engine_factory: EngineFactory,
    metrics: Metrics,
    *,
    max_batch_size: int,
    most_waiting: int,
    default_max_tokens: int = DEFAULT_MAX_TOKENS,
    dtype: torch.dtype = torch.float32,
    shares_bases: bool = True,
) -> dict[str, Served]:
    """Load policies and start their schedulers.

    A base and plain adapters that were trained on it have one copy of its weights, one engine,
    whose batch mixes them, and one queue. An adapter alone is merged, which is the faster.

    Args:
        models: directories by name.
        engine_factory: of what samples.
        metrics: are told of every model by its name.
        max_batch_size: responses that an engine samples together.
        most_waiting: requests that an engine has under way at once.
        default_max_tokens: as of `Served`.
        dtype: of weights.
        shares_bases: whether the engine knows adapters.

    Raises:
        ModelError: there is no such model.
    """
    encoders = {name: ChatEncoder(load_tokenizer(model)) for name, model in models.items()}
    found: dict[str, Served] = {}
    for group in _groups(models, encoders, shares_bases=shares_bases):
        work = functools.partial(
            _load_group,
            {name: models[name] for name in group},
            functools.partial(engine_factory, max_batch_size=max_batch_size),
            encoders[group[0]],
            dtype,
        )
        policy, adapters, engine = in_passing_thread(work)
        scheduler = Scheduler(engine, name="+".join(group), most_waiting=most_waiting)
        for name in group:
            found[name] = Served(
                name,
                _version(models[name]),
                policy,
                encoders[name],
                scheduler,
                ModelWatch(metrics, name),
                name if name in adapters else None,
                default_max_tokens,
            )
    return {name: found[name] for name in models}


def _groups(
    models: Mapping[str, str], encoders: Mapping[str, ChatEncoder], *, shares_bases: bool
) -> list[list[str]]:
    """Names whose models run on the same weights, by one engine."""
    found: dict[tuple[str, int], list[str]] = {}
    for name, model in models.items():
        # An engine ends all its responses with the same token.
        key = _trunk_of(model) if shares_bases else name, encoders[name].end_of_turn_id
        found.setdefault(key, []).append(name)
    return list(found.values())


def _load_group(
    models: Mapping[str, str],
    engine_factory: Callable[..., Any],
    encoder: ChatEncoder,
    dtype: torch.dtype,
) -> tuple[PreTrainedModel, set[str], Any]:
    """One policy for all of them, the names of those that are adapters on it, and its engine."""
    first, is_one = next(iter(models.values())), len(models) == 1
    trunk = first if is_one else _trunk_of(first)
    policy = load_policy(trunk, device=default_device(), dtype=dtype)
    adapters = {n: model for n, model in models.items() if not is_one and _adds_to_trunk(model)}
    if adapters:
        add_adapters(policy, adapters)
    return policy, set(adapters), engine_factory(policy, encoder)


def _trunk_of(model: str) -> str:
    """The directory of the weights that a model can share."""
    trunk = base_of(model) if _adds_to_trunk(model) else model
    return str(Path(trunk).resolve()) if Path(trunk).exists() else trunk


def _adds_to_trunk(model: str) -> bool:
    return is_adapter(model) and is_plain(model)


def _version(model: str) -> str:
    """A hash of its files: clients are told it, and where they lie is not their business."""
    return versioned(model).rpartition("@")[2]


def is_reward(model: str) -> bool:
    """Whether a directory holds a reward model, by its config."""
    path = Path(model) / "config.json"
    if not path.is_file():
        return False
    try:
        kinds = json.loads(path.read_text("utf-8")).get("architectures") or []
    except ValueError:
        return False  # loading it says what is wrong
    return any(kind.endswith("ForSequenceClassification") for kind in kinds)


def load_reward(name: str, model: str) -> ServedReward:
    """Load a reward model; prompts are cut at their start where they do not fit its context.

    Raises:
        ModelError: no such model.
    """
    with named_errors(model):
        most = context_length(AutoConfig.from_pretrained(model)) or _REWARD_TOKENS
    load = functools.partial(LearnedReward, model, device=default_device(), max_length=most)
    return ServedReward(name, _version(model), in_passing_thread(load))
