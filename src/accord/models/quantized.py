"""Frozen bases of four bits a weight (QLoRA), by bitsandbytes where it is installed.

A base is loaded in NF4 with double quantisation and computes in bfloat16; what is not quantised
(norms, embeddings, heads) and the adapters are float32. Source: Dettmers et al. 2023,
arXiv:2305.14314.

Saving is exact: the weights that were trained on are those of four bits, so they are made float32
again and the adapters are added to them. Folding adapters into the four bits, or into the weights
before they were rounded, would save another model than the one that was measured. What is left is
bfloat16's rounding while training.
"""

import copy
import importlib.util
from typing import Any

import torch
from peft import PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from torch import nn

from accord.core.errors import ConfigError


def is_there() -> bool:
    """Whether bitsandbytes is installed."""
    return importlib.util.find_spec("bitsandbytes") is not None


def four_bit_arguments(device: torch.device) -> dict[str, Any]:
    """What `from_pretrained` is told, so that it loads a base in four bits.

    Raises:
        ConfigError: bitsandbytes is not installed.
    """
    if not is_there():
        raise ConfigError(
            "load_in_4bit needs bitsandbytes, which is not installed: pip install 'accord[qlora]', "
            "or leave load_in_4bit out"
        )
    from transformers import BitsAndBytesConfig

    quantization = BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    return {"quantization_config": quantization, "device_map": {"": device}}


def is_quantized(model: nn.Module) -> bool:
    """Whether a model, bare or under peft, has weights of four bits."""
    return any(_is_four_bit(module) for module in model.modules())


def _is_four_bit(module: nn.Module) -> bool:
    return getattr(getattr(module, "weight", None), "quant_state", None) is not None


def keep_trainable(model: nn.Module) -> None:
    """Keep four-bit layers on the road that has gradients, in place.

    On some CPUs bitsandbytes lays weights out anew for evaluation, with coarser scales and without
    a gradient; here the same layers are read and trained through in turns.
    """
    for module in model.modules():
        if _is_four_bit(module):
            module.support_avx512bf16_for_cpu = False  # type: ignore[assignment]


def frozen_names(model: nn.Module) -> set[str]:
    """Prefixes of the state dict's names that are four-bit weights, which never change.

    They need not be kept with a train state, and bitsandbytes cannot load them back in place.
    """
    return {f"{name}.weight" for name, module in model.named_modules() if _is_four_bit(module)}


def dequantized_and_merged(model: PeftModel) -> Any:
    """A plain float32 model: the base's four-bit weights and what the adapters add.

    The model that trains is not disturbed.
    """
    state = get_peft_model_state_dict(model)
    copied: Any = copy.deepcopy(model)
    base = copied.unload().dequantize(dtype=torch.float32)
    with torch.random.fork_rng(devices=[]):
        again: Any = get_peft_model(base, copy.deepcopy(model.peft_config["default"]))
    set_peft_model_state_dict(again, state)
    return again.merge_and_unload()
