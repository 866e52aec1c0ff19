"""LoRA adapters through peft, and the frozen reference: the same weights with the adapter off."""

import contextlib
import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from torch import nn
from transformers import PreTrainedModel

from accord.core import processes
from accord.core.errors import ModelError
from accord.core.train_config import TrainConfig
from accord.models.loading import evaluating
from accord.models.sharding import shard, whole


def add_lora(model: PreTrainedModel, *, r: int, alpha: int, seed: int) -> PeftModel:
    """Put adapters on all linear layers of the trunk and freeze everything else.

    A causal LM's output embedding stays as it is. A classifier's head keeps training, as a copy
    inside the wrapper. A new adapter adds nothing, so the first forward is the model's own.

    Args:
        model: changed in place, as peft does; use what is returned.
        r: rank.
        alpha: the adapter's output is multiplied by alpha / r.
        seed: seeds the adapters' random half and nothing else.
    """
    is_causal = _is_causal(model)
    config = LoraConfig(
        r=r,
        lora_alpha=alpha,
        target_modules="all-linear",
        task_type=TaskType.CAUSAL_LM if is_causal else TaskType.SEQ_CLS,
    )
    devices = [model.device] if model.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        return get_peft_model(model, config)


def adapted(model: PreTrainedModel, config: TrainConfig) -> nn.Module:
    """The model as a stage's config wants it trained, with adapters or all of it; and sharded, if
    that is how the processes were launched.
    """
    trained: nn.Module = model
    if config.use_peft:
        trained = add_lora(model, r=config.lora_r, alpha=config.lora_alpha, seed=config.seed)
    return shard(trained) if processes.shards() else trained


def _is_causal(model: Any) -> bool:
    return model.get_output_embeddings() is not None


def merged(model: nn.Module) -> PreTrainedModel:
    """A plain `transformers` model with the adapters folded into its weights, for saving.

    The model that trains is not disturbed: adapters are folded into a copy. A model without
    adapters is returned as it is. A sharded one is made whole, by all processes together.
    """
    model = whole(model)
    if not isinstance(model, PeftModel):
        return model  # type: ignore[return-value]
    copied: Any = copy.deepcopy(model)
    plain: PreTrainedModel = copied.merge_and_unload()
    return plain


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
    Without, it is a deep copy of the policy as it is now.

    Raises:
        ModelError: `use_peft` is set but the policy has no adapters.
    """
    if use_peft:
        if not isinstance(policy, PeftModel):
            raise ModelError("use_peft is set, but the policy has no adapters; call add_lora first")
        return lambda: _without_adapters(policy)
    frozen = copy.deepcopy(policy).requires_grad_(False).eval()
    return lambda: _without_gradients(frozen)


@contextlib.contextmanager
def _without_adapters(policy: nn.Module) -> Iterator[nn.Module]:
    with torch.no_grad(), evaluating(policy), adapters_off(policy) as reference:
        yield reference


@contextlib.contextmanager
def _without_gradients(frozen: nn.Module) -> Iterator[nn.Module]:
    with torch.no_grad():
        yield frozen
