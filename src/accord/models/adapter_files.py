"""Adapter directories, as peft writes them: an `adapter_config.json` that names its base."""

import json
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, PeftModel
from safetensors import safe_open

from accord.core import files
from accord.core.errors import ModelError

_CONFIG = "adapter_config.json"
_WEIGHTS = "adapter_model.safetensors"
_PREFIX = "base_model.model."
_MORE_THAN_LOW_RANK = (
    "alora_invocation_tokens",
    "arrow_config",
    "fan_in_fan_out",  # layers of another kind than nn.Linear
    "layer_replication",
    "lora_bias",
    "modules_to_save",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_dora",
    "use_qalora",
)
"""Options of a LoRA config with which it changes more."""


def is_adapter(model_name_or_path: str) -> bool:
    """Whether it is a local directory with adapters and no model of its own."""
    path = Path(model_name_or_path)
    return (path / _CONFIG).is_file() and not (path / "config.json").is_file()


def base_of(model_name_or_path: str) -> str:
    """The model that an adapter directory stands on (through other adapters); others as they are.

    Raises:
        ModelError: the directory names no base.
    """
    if not is_adapter(model_name_or_path):
        return model_name_or_path
    base = _named_base(model_name_or_path)
    return base_of(base)


def _named_base(directory: str) -> str:
    try:
        base = json.loads((Path(directory) / _CONFIG).read_text("utf-8"))["base_model_name_or_path"]
    except (ValueError, KeyError):
        base = None
    if not isinstance(base, str) or base == directory:
        raise ModelError(
            f"{directory}: its {_CONFIG} names no base; expected base_model_name_or_path, the "
            "model that the adapters were trained on"
        )
    return base


def adapters_between(model_name_or_path: str) -> list[str]:
    """Adapter directories from the one that is named down to the base, in the order to apply."""
    found: list[str] = []
    while is_adapter(model_name_or_path):
        found.insert(0, model_name_or_path)
        model_name_or_path = _named_base(model_name_or_path)
    return found


def is_plain(directory: str) -> bool:
    """Whether a directory of adapters adds low-rank products to linear layers of a whole model, and
    does nothing else.
    """
    config = json.loads((Path(directory) / _CONFIG).read_text("utf-8"))
    return (
        config.get("peft_type") == "LORA"
        and config.get("bias") in (None, "none")
        and not any(config.get(name) for name in _MORE_THAN_LOW_RANK)
        and not is_adapter(_named_base(directory))
    )


def merge_adapter(model: Any, directory: str) -> tuple[Any, set[str]]:
    """Fold a directory's adapters into a model.

    The model may be of another kind than the adapters' own: a reward model starts from a policy's.

    Returns:
        the plain model, and the names of whole weights that the directory gave it (heads).
    """
    config = PeftConfig.from_pretrained(directory)
    config.task_type = None  # no wrapper of one kind of model
    with torch.random.fork_rng(devices=[]):
        wrapped: Any = PeftModel.from_pretrained(model, directory, config=config)
    with safe_open(Path(directory) / _WEIGHTS, framework="pt") as weights:
        whole = {n.removeprefix(_PREFIX) for n in weights.keys() if "lora_" not in n}  # noqa: SIM118
    return wrapped.merge_and_unload(), whole


def save_adapter(model: PeftModel, tokenizer: Any, path: Path, *, base: str) -> None:
    """Write the adapters alone, with the tokenizer, so that peft loads them on their base.

    Args:
        base: the base's name; a local one is written as an absolute path.

    Raises:
        StorageError: the disk refused; a directory that was there before is untouched.
    """
    config = model.peft_config["default"]
    config.base_model_name_or_path = str(Path(base).resolve()) if Path(base).exists() else base
    with files.atomic_directory(path) as temporary:
        # "auto" would ask the hub for the base's vocabulary; embeddings never train here.
        model.save_pretrained(str(temporary), save_embedding_layers=False)
        (temporary / "README.md").unlink(missing_ok=True)  # a form to be filled in
        tokenizer.save_pretrained(temporary)
