"""Policies and tokenizers from Hugging Face directories or hub names."""

import contextlib
import logging
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.utils import logging as transformers_logging

from accord.core import files
from accord.core.device import default_device
from accord.core.errors import ConfigError, ModelError
from accord.core.machine import keep_freed_memory
from accord.core.train_config import TrainConfig
from accord.models.adapter_files import adapters_between, base_of, is_adapter, merge_adapter
from accord.models.linear import use_fast_linear
from accord.models.logprobs import check_logits
from accord.models.packing import use_packing
from accord.models.quantized import four_bit_arguments, keep_trainable


def check_model_path(model_name_or_path: str) -> None:
    """Refuse a local path that holds no model, before any work is done.

    Raises:
        ModelError: the path exists but is not a model directory, or looks like a path and does
            not exist.
    """
    path = Path(model_name_or_path)
    if is_adapter(model_name_or_path):
        check_model_path(base_of(model_name_or_path))
        return
    if path.exists() and not (path / "config.json").is_file():
        raise ModelError(f"{path}: expected a Hugging Face model directory with a config.json")
    looks_local = path.is_absolute() or model_name_or_path.startswith((".", "~"))
    if not path.exists() and (looks_local or model_name_or_path.count("/") > 1):
        raise ModelError(f"{path}: no such model directory")


def context_length(model_config: Any) -> int | None:
    """Most tokens that a model reads, from its config; None where it names no limit."""
    limit = getattr(model_config.get_text_config(), "max_position_embeddings", None)
    return None if limit is None else int(limit)


def within_context(max_length: int, model_config: Any) -> int:
    """`max_length`, or the model's context where that is shorter."""
    limit = context_length(model_config)
    return max_length if limit is None else min(max_length, limit)


def load_tokenizer(model_name_or_path: str) -> Any:
    """The tokenizer that lies with a model; with adapters that have none, their base's."""
    check_model_path(model_name_or_path)
    if not (Path(model_name_or_path) / "tokenizer_config.json").is_file():
        model_name_or_path = base_of(model_name_or_path)
    with named_errors(model_name_or_path):
        return AutoTokenizer.from_pretrained(model_name_or_path)


def load_policy(
    model_name_or_path: str,
    *,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    load_in_4bit: bool = False,
) -> PreTrainedModel:
    """Any `transformers` causal language model, in evaluation mode (no dropout).

    A directory of adapters gives its base with the adapters merged.

    Raises:
        ConfigError: `load_in_4bit` without bitsandbytes, or of adapters.
        ModelError: no such model, its files are damaged or lack weights, or its family changes
            logits in a way that `models.logprobs` does not know.
    """
    model, missing = load_pretrained(
        AutoModelForCausalLM,
        model_name_or_path,
        device=device,
        dtype=dtype,
        load_in_4bit=load_in_4bit,
    )
    refuse_missing(model_name_or_path, missing)
    model.eval()  # type: ignore[no-untyped-call]
    use_fast_linear(model)
    use_packing(model)
    check_logits(model, where=model_name_or_path)
    return model


def load_start(config: TrainConfig) -> PreTrainedModel:
    """The policy that a training stage starts from, on this process's device."""
    return load_policy(
        config.model_name_or_path, device=default_device(), load_in_4bit=config.load_in_4bit
    )


def load_pretrained(
    auto_class: Any,
    model_name_or_path: str,
    *,
    device: torch.device,
    load_in_4bit: bool = False,
    **arguments: Any,
) -> tuple[PreTrainedModel, list[str]]:
    """A model of one of the Auto classes, and the names of weights that its files lack.

    `transformers` fills what is missing with random numbers, so callers have to look at the list.

    Raises:
        ConfigError: `load_in_4bit` without bitsandbytes, or of adapters.
        ModelError: no such model, or its files are damaged.
    """
    check_model_path(model_name_or_path)
    if device.type == "cpu":
        keep_freed_memory()
    adapters = adapters_between(model_name_or_path)
    if load_in_4bit:
        if adapters:
            raise ConfigError(
                f"load_in_4bit: {model_name_or_path} is a directory of adapters, which cannot be "
                "folded into four bits; start from a whole model (model/ beside adapter/)"
            )
        arguments |= four_bit_arguments(device)
    with named_errors(model_name_or_path), _quiet_library():
        model, info = auto_class.from_pretrained(
            base_of(model_name_or_path), output_loading_info=True, **arguments
        )
        missing = set(info["missing_keys"])
        for directory in adapters:
            model, given = merge_adapter(model, directory)
            missing -= given
    if load_in_4bit:
        keep_trainable(model)
        return model, sorted(missing)  # it is where it was put
    return model.to(device), sorted(missing)


def refuse_missing(model_name_or_path: str, missing: Sequence[str]) -> None:
    """Raise a ModelError that names the weights which a checkpoint lacks, if there are any."""
    if missing:
        shown = ", ".join(missing[:3]) + (" ..." if len(missing) > 3 else "")
        raise ModelError(
            f"{model_name_or_path}: {len(missing)} weights are missing ({shown}); expected a whole "
            "checkpoint of this kind of model: copy or download it again"
        )


@contextlib.contextmanager
def named_errors(model_name_or_path: str) -> Iterator[None]:
    """Turn whatever a library says of a damaged model into a ModelError that names it."""
    try:
        yield
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(
            f"{model_name_or_path}: cannot be loaded ({type(error).__name__}: {error}); "
            "expected a Hugging Face directory or hub name whose files are whole"
        ) from error


@contextlib.contextmanager
def _quiet_library() -> Iterator[None]:
    """Without the library's table of missing weights (callers say it in one error, or fill them)
    and without its bars, which would cut through ours.
    """
    verbosity = transformers_logging.get_verbosity()
    had_bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.ERROR)
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if had_bars:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Switch dropout off; afterwards each module is in the mode that it was in."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def save_model(model: PreTrainedModel, tokenizer: Any, path: Path) -> None:
    """Write model and tokenizer as one Hugging Face directory, atomically.

    Raises:
        StorageError: the disk refused; a directory that was there before is untouched.
    """
    with files.atomic_directory(path) as temporary:
        write_model(model, tokenizer, temporary)


def write_model(model: PreTrainedModel, tokenizer: Any, directory: Path) -> None:
    """Write model and tokenizer into an existing directory; a full disk raises an OSError."""
    try:
        with _quiet_library():
            model.save_pretrained(directory)
    except SafetensorError as error:
        # safetensors wraps what the system said in an exception of its own.
        refused = re.search(r"os error (\d+)", str(error))
        if refused is None:
            raise
        raise OSError(int(refused[1]), os.strerror(int(refused[1])), str(directory)) from error
    tokenizer.save_pretrained(directory)
