"""What a stage will need of memory, told before it does any work; and what it took, afterwards.

An upper bound from the config alone: rows as long as `max_length` allows. Nothing is loaded. A
stage that will not fit is refused with the parts and with what would make it fit; with the
environment variable ACCORD_SKIP_MEMORY_CHECK it is tried anyway.
"""

import math
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

from accord.core import machine, processes
from accord.core.config import StageConfig
from accord.core.device import default_device
from accord.core.errors import ConfigError
from accord.core.train_config import TrainConfig
from accord.engine.local import PREFILL_TOKENS
from accord.models.footprint import FLOAT32, Footprint, footprint
from accord.models.logprobs import CHUNK_LOGITS
from accord.models.training_kernels import training_library
from accord.rewards.learned import TOKENS_PER_BATCH

SKIP = "ACCORD_SKIP_MEMORY_CHECK"
LIBRARIES = {"cpu": 192 * 2**20, "cuda": 700 * 2**20}
"""Bytes that kernels, a device's context and an allocator's rounding take beside tensors."""
_GAPS = 5
"""One more byte for so many: what freed tensors leave between others. Measured: up to a third."""
_ADAM = 2 * FLOAT32
_SAMPLED_ROWS = 128
_GIB = 2**30
SCORERS = ("reward", "process_reward", "classifier")
"""Stages whose model has a score for a head, and no logits."""
_FOUR_BITS = 0.6
"""Bytes a weight of four bits with its scales, and the share of weights that stay whole."""


class Estimate(NamedTuple):
    """Bytes by part: what stays all the time, and each phase's own, of which one is at a time."""

    resident: dict[str, int]
    phases: dict[str, dict[str, int]]

    @property
    def parts(self) -> dict[str, int]:
        """What stays, and the parts of the largest phase."""
        largest = max(self.phases.values(), key=lambda phase: sum(phase.values()))
        tensors = self.resident | largest
        found = {**tensors, "gaps between tensors": sum(tensors.values()) // _GAPS}
        return {name: size for name, size in found.items() if size}

    @property
    def total(self) -> int:
        """Of the process, at its peak."""
        return sum(self.parts.values())


def admit(stage: str, config: StageConfig) -> dict[str, Any]:
    """What the manifest says of memory, before a stage runs; nothing for one that does not train.

    Raises:
        ConfigError: the stage will not fit; parts, and what to change, are in the message.
        ModelError: the model to start from cannot be read.
    """
    if not isinstance(config, TrainConfig):
        return {}
    device = default_device().type
    found = estimate(stage, config, device=device)
    available = machine.available_bytes()
    known = [size for size in processes.gathered(available) if size is not None]
    available = min(known, default=None)
    if available is not None and found.total > available and not os.environ.get(SKIP):
        raise ConfigError(_refusal(stage, config, found, available, device))
    machine.restart_peak()
    there = machine.resident_bytes() if device == "cpu" else 0
    return {
        "device": device,
        "estimated_bytes": found.total + there,
        "available_bytes": available,
        "parts": found.parts | ({"program": there} if there else {}),
    }


def with_peak(told: dict[str, Any]) -> dict[str, Any]:
    """What `admit` gave, with the measured peak beside it (null where the system tells none)."""
    return {**told, "peak_bytes": machine.peak_bytes()} if told else told


def estimate(stage: str, config: TrainConfig, *, device: str) -> Estimate:
    """Bytes that one process of a stage takes."""
    values = config.model_dump()
    policy = footprint(config.model_name_or_path)
    rewards = [footprint(path) for path in values.get("reward_model_name_or_path", [])]
    value = None
    if values.get("value_model") == "separate":
        value = max([policy, *rewards], key=lambda model: model.trunk)
    is_online, is_scorer = "max_completion_length" in values, stage in SCORERS
    trained = _trained(policy, config, values.get("use_peft"), whole=not is_scorer)
    if value is not None:
        uses_peft = values["value_use_peft"]
        trained += _trained(value, config, config.use_peft if uses_peft is None else uses_peft)
    shards = processes.count() if processes.shards() else 1
    copies_reference = is_online and not config.use_peft
    keeps = stage == "sft" or is_scorer or values.get("kl_budget_nats") or values.get("ema_decay")
    policy_size = policy.trunk if is_scorer else policy.parameters
    resident = {
        "weights": int(policy_size * (_FOUR_BITS if config.load_in_4bit else FLOAT32)) // shards,
        "weights of the reference": policy.parameters * FLOAT32 * copies_reference,
        "weights of the value model": value.trunk * FLOAT32 if value else 0,
        "weights of reward models": sum(model.trunk for model in rewards) * FLOAT32,
        "optimizer states": trained * _ADAM // shards,
        # The old one is let go when the new one is there.
        "best weights so far": 2 * trained * FLOAT32 // shards if keeps else 0,
        "libraries": LIBRARIES[device],
    }
    if is_online and values["engine"] == "local" and device == "cpu":
        resident["weights as the sampler lays them out"] = policy.parameters * FLOAT32
    phases = {"training": _training(stage, config, policy, value, trained, shards, device)}
    if is_online:
        phases["sampling"] = _sampling(config, values, policy, rewards)
    merging = policy_size * FLOAT32 if config.use_peft else 0
    rereading = policy.trunk * FLOAT32 if is_scorer else 0
    phases["saving"] = {"weights merged or reloaded": merging + rereading}
    return Estimate(resident, phases)


def _trained(
    model: Footprint, config: TrainConfig, uses_peft: bool | None, *, whole: bool = False
) -> int:
    if uses_peft:
        return model.lora_rank * config.lora_r
    return model.parameters if whole else model.trunk


def _longest(config: TrainConfig, model: Footprint) -> int:
    return min(config.max_length, model.context or config.max_length)


def _training(
    stage: str,
    config: TrainConfig,
    policy: Footprint,
    value: Footprint | None,
    trained: int,
    shards: int,
    device: str,
) -> dict[str, int]:
    """A micro-batch forward and backward, on gradients that an earlier one left."""
    values = config.model_dump()
    is_pair = "comparisons" in values
    example = _longest(config, policy) * (2 if is_pair else 1)
    batch = values.get("mini_batch_size", config.per_device_train_batch_size)
    share = math.ceil(batch / processes.count())
    tokens = min(max(config.tokens_per_micro_batch, example), share * example)
    models = [policy, value] if value else [policy]
    kept = sum(model.kept_bytes(bf16=config.bf16, device=device) for model in models)
    # Of one layer, on the way back: every kept state's gradient.
    passing = max(kept // max(1, policy.layers), policy.passing_bytes())
    gradients = trained * FLOAT32 // shards
    if processes.count() > 1 and shards == 1:
        gradients *= 2  # their sum is made in one piece
    # Natively a chunk becomes its gradient (in float32 in place), and products copy it once.
    chunks = 2 if device == "cpu" and training_library() is not None else 4
    head = 0 if stage in SCORERS else chunks * CHUNK_LOGITS * FLOAT32
    if stage not in SCORERS and not config.use_peft:
        head += 2 * policy.vocabulary * policy.hidden * FLOAT32
    found = {
        "gradients": gradients,
        f"activations of {tokens} tokens": tokens * (kept + passing),
        "chunks of logits": head,
    }
    if shards > 1:
        layer = (policy.trunk - policy.vocabulary * policy.hidden) // policy.layers
        found["gathered weights"] = (2 * layer + policy.embeddings) * 2 * FLOAT32
    if config.bf16:
        found["weights in bfloat16"] = 2 * (policy.trunk + (value.trunk if value else 0))
    return found


def _sampling(
    config: TrainConfig, values: dict[str, Any], policy: Footprint, rewards: list[Footprint]
) -> dict[str, int]:
    """The sampler's cache, its prompts' forward, or the forward that scores, at their largest."""
    wanted = max(config.per_device_train_batch_size, values["max_eval_prompts"])
    rows = min(_SAMPLED_ROWS, wanted)
    longest = _longest(config, policy)
    prefill = min(PREFILL_TOKENS, rows * longest)
    reading = min(max(config.tokens_per_micro_batch, longest), wanted * longest)
    scoring = [TOKENS_PER_BATCH * model.passing_bytes() for model in rewards]
    return {
        # Growing doubles the room, and old and new are there at once.
        "keys and values": rows * longest * 2 * policy.cache_bytes(),
        "prompts and scores": max(max(prefill, reading) * policy.passing_bytes(), *scoring, 0),
        "probabilities of tokens": rows * policy.vocabulary * 4 * FLOAT32,
    }


def _refusal(stage: str, config: TrainConfig, found: Estimate, available: int, device: str) -> str:
    where = "GPU memory" if device == "cuda" else "memory"
    parts = sorted(found.parts.items(), key=lambda part: -part[1])
    width = max(len(name) for name, _ in parts)
    table = [f"  {name:<{width}}  {_gib(size):>7}" for name, size in parts]
    changes = [
        f"  {change}: {_gib(size)}{' (fits)' if size <= available else ''}"
        for change, size in advice(stage, config, found, available, device=device)
    ]
    return "\n".join(
        [
            f"{stage}: needs about {_gib(found.total)} GiB of {where}, and "
            f"{_gib(available)} GiB are free; nothing was started",
            *table,
            "what to change, and what it needs then:",
            *changes,
            f"or take a smaller model, or more processes; {SKIP}=1 tries it as it is",
        ]
    )


def _gib(size: int) -> str:
    return f"{size / _GIB:.2f}"


def advice(
    stage: str, config: TrainConfig, found: Estimate, available: int, *, device: str
) -> Iterator[tuple[str, int]]:
    """Changes that make a stage smaller, each with the bytes it needs then, and all of them.

    The micro-batch named is the largest that fits, or the smallest that there is.
    """
    values = config.model_dump()
    together: dict[str, Any] = {}

    def with_change(change: dict[str, Any]) -> int:
        changed = config.model_copy(update=change)
        return estimate(stage, changed, device=device).total

    least, tokens = config.max_length, config.tokens_per_micro_batch
    while tokens > least and with_change({"tokens_per_micro_batch": tokens}) > available:
        tokens = max(least, tokens // 2)
    tried: list[dict[str, Any]] = [
        {"tokens_per_micro_batch": tokens},
        {"max_length": max(2, config.max_length // 2)},
        {"use_peft": True},
    ]
    if device == "cuda":
        tried.append({"bf16": True})
    if values.get("value_model") == "separate":
        tried.append({"value_model": "shared"})
    for change in tried:
        size = with_change(change)
        if size < 0.98 * found.total:
            together |= change
            yield _named(change), size
    if len(together) > 1:
        yield _named(together), with_change(together)


def _named(change: dict[str, Any]) -> str:
    return ", ".join(f"{name} = {str(value).lower()}" for name, value in change.items())
