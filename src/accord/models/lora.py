"""LoRA adapters through peft, and the frozen reference: the same weights with the adapter off."""

import contextlib
import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from torch import Tensor, nn
from transformers import PreTrainedModel

from accord.core import processes
from accord.core.errors import ConfigError, ModelError, describe_choice
from accord.core.run_dir import RunDir
from accord.core.train_config import TrainConfig
from accord.models.adapter_files import save_adapter
from accord.models.loading import evaluating, save_model
from accord.models.quantized import dequantized_and_merged, is_quantized
from accord.models.sharding import shard, whole

ALL_LINEAR = "all-linear"
"""Stands for every linear layer of the trunk."""


class TrainingDropout(nn.Dropout):
    """Dropout of the passes that record gradients; all others read the model as it is.

    A mode of the module would not do: between two optimizer steps the same module samples, is
    evaluated, and is the reference.
    """

    def forward(self, states: Tensor) -> Tensor:
        """As `nn.Dropout`, or the states themselves."""
        is_on = self.training and torch.is_grad_enabled()
        return nn.functional.dropout(states, self.p, training=is_on)


def add_lora(
    model: PreTrainedModel,
    *,
    r: int,
    alpha: int,
    seed: int,
    dropout: float = 0.0,
    target_modules: Sequence[str] = (ALL_LINEAR,),
    use_rslora: bool = False,
) -> PeftModel:
    """Put adapters on linear layers of the trunk and freeze everything else.

    A causal LM's output embedding stays as it is. A classifier's head keeps training, as a copy
    inside the wrapper. A new adapter adds nothing, so the first forward is the model's own.

    Args:
        model: changed in place, as peft does; use what is returned.
        r: rank.
        alpha: the adapter's output is multiplied by alpha / r.
        seed: seeds the adapters' random half and nothing else.
        dropout: share of the adapters' inputs that a training pass hides, in [0, 1).
        target_modules: ends of the names of the layers; "all-linear" alone is all of them.
        use_rslora: multiply by alpha / sqrt(r) instead (Kalajdzievski 2023, arXiv:2312.03732).

    Raises:
        ConfigError: no layer has one of the names, or one is no linear layer of the trunk.
    """
    names = list(target_modules)
    config = LoraConfig(
        r=r,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=ALL_LINEAR if names == [ALL_LINEAR] else names,
        use_rslora=use_rslora,
        task_type=TaskType.CAUSAL_LM if _is_causal(model) else TaskType.SEQ_CLS,
    )
    if names != [ALL_LINEAR]:
        _check_targets(model, names)
    devices = [model.device] if model.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        adapted_model = get_peft_model(model, config)
    for module in adapted_model.modules():
        if type(module) is nn.Dropout and dropout > 0:
            module.__class__ = TrainingDropout
    return adapted_model


def _check_targets(model: PreTrainedModel, names: Sequence[str]) -> None:
    """Heads and embeddings are read here without their adapters, so they may not have any."""
    linear = {n for n, m in model.base_model.named_modules() if isinstance(m, nn.Linear)}
    for name in names:
        if not any(found == name or found.endswith(f".{name}") for found in linear):
            known = sorted({found.rsplit(".", 1)[-1] for found in linear})
            raise ConfigError(
                f"lora_target_modules: no linear layer of the trunk is named "
                f"{describe_choice(name, [*known, ALL_LINEAR])}"
            )


def adapted(model: PreTrainedModel, config: TrainConfig) -> nn.Module:
    """The model as a stage's config wants it trained, with adapters or all of it; and sharded, if
    that is how the processes were launched.
    """
    if processes.shards() and config.load_in_4bit:
        raise ConfigError("load_in_4bit cannot be sharded: launch without FSDP, or leave it out")
    trained: nn.Module = with_adapters(model, config) if config.use_peft else model
    return shard(trained) if processes.shards() else trained


def with_adapters(model: PreTrainedModel, config: TrainConfig) -> PeftModel:
    """`add_lora` with a stage's settings."""
    return add_lora(
        model,
        r=config.lora_r,
        alpha=config.lora_alpha,
        seed=config.seed,
        dropout=config.lora_dropout,
        target_modules=config.lora_target_modules,
        use_rslora=config.use_rslora,
    )


def _is_causal(model: Any) -> bool:
    return model.get_output_embeddings() is not None


def merged(model: nn.Module) -> PreTrainedModel:
    """A plain `transformers` model with the adapters folded into its weights, for saving.

    The model that trains is not disturbed: adapters are folded into a copy. A model without
    adapters is returned as it is; a base of four bits becomes float32. A sharded one is made whole,
    by all processes together.
    """
    model = whole(model)
    if not isinstance(model, PeftModel):
        return model  # type: ignore[return-value]
    if is_quantized(model):
        dequantized: PreTrainedModel = dequantized_and_merged(model)
        return dequantized
    copied: Any = copy.deepcopy(model)
    plain: PreTrainedModel = copied.merge_and_unload()
    return plain


def save_trained(model: nn.Module, tokenizer: Any, config: TrainConfig, run_dir: RunDir) -> None:
    """A trained policy as `model/`, adapters merged; and `adapter/` where the config asks for it.

    Raises:
        StorageError: the disk refused.
    """
    model = whole(model)
    save_model(merged(model), tokenizer, run_dir.model_path)
    save_adapter_of(model, tokenizer, config, run_dir)


def save_adapter_of(model: nn.Module, tokenizer: Any, config: TrainConfig, run_dir: RunDir) -> None:
    """`adapter/`, where the config asks for it."""
    if config.save_adapter and isinstance(model, PeftModel):
        path = run_dir.path / "adapter"
        save_adapter(model, tokenizer, path, base=config.model_name_or_path)


@contextlib.contextmanager
def adapters_off(model: nn.Module) -> Iterator[nn.Module]:
    """The model as it was before `add_lora`, while the context lasts.

    Which parameters train is the same afterwards: peft alone would make every adapter trainable,
    also one that had been frozen (while a value function warms up, for example).

    Raises:
        ModelError: the model has no adapters.
    """
    if not isinstance(model, PeftModel):
        raise ModelError("this model has no adapters that could be switched off; call add_lora")
    trainable = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        with model.disable_adapter():
            yield model
    finally:
        for parameter, requires_grad in trainable:
            parameter.requires_grad_(requires_grad)


def reference_of(
    policy: nn.Module, *, use_peft: bool
) -> Callable[[], AbstractContextManager[nn.Module]]:
    """The frozen reference of a policy, as a function that gives a context.

        as_reference = reference_of(policy, use_peft=config.use_peft)
        with as_reference() as reference:
            logprobs = token_logprobs(reference, ...)

    Inside, there are no gradients and no dropout. With adapters the reference costs no memory: it
    is the policy with its adapters off, so nothing may train the policy inside the context.
    Without, it is a deep copy of the policy as it is now, before that is sharded; it is sharded
    itself where the policy will be.

    Raises:
        ModelError: `use_peft` is set but the policy has no adapters.
    """
    if use_peft:
        if not isinstance(policy, PeftModel):
            raise ModelError("use_peft is set, but the policy has no adapters; call add_lora first")
        return lambda: _without_adapters(policy)
    frozen = copy.deepcopy(policy).requires_grad_(False).eval()
    if processes.shards():
        shard(frozen, leads=False)
    return lambda: _without_gradients(frozen)


@contextlib.contextmanager
def _without_adapters(policy: nn.Module) -> Iterator[nn.Module]:
    with torch.no_grad(), evaluating(policy), adapters_off(policy) as reference:
        yield reference


@contextlib.contextmanager
def _without_gradients(frozen: nn.Module) -> Iterator[nn.Module]:
    with torch.no_grad():
        yield frozen
