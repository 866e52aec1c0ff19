"""Scalar heads and the reward models that have them.

A reward model is `AutoModelForSequenceClassification` with one label. Its score is read at the
last real token, found by length; `transformers` finds it by the pad token's id, so the two agree
when padding differs from the end of turn, which `init_reward_model` sees to where it can.
"""

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel

from accord.core import files, processes
from accord.core.errors import ModelError
from accord.corpora.encoding import ChatEncoder
from accord.models.adapter_files import base_of, is_adapter
from accord.models.linear import use_fast_linear
from accord.models.loading import (
    check_model_path,
    evaluating,
    load_pretrained,
    load_tokenizer,
    named_errors,
    refuse_missing,
    write_model,
)
from accord.models.logprobs import bare_model, hidden_states
from accord.models.lora import merged
from accord.models.packing import use_packing
from accord.models.quantized import is_quantized

HEAD_NAMES = ("score", "classifier")
RELOAD_TOLERANCE = 1e-4
"""Largest change of a score by saving and reloading; relative for scores beyond 1."""

FOUR_BIT_TOLERANCE = 5e-2
"""The same where a base of four bits computed in bfloat16, and is saved in float32."""


class ScoredSample(Protocol):
    """A padded batch, as `training.batches.TokenBatch` is one."""

    @property
    def input_ids(self) -> Tensor:
        """(B, L) token ids, right-padded."""

    @property
    def attention_mask(self) -> Tensor:
        """(B, L), 1 on real tokens."""


def init_reward_model(
    policy_path: str,
    *,
    device: torch.device,
    seed: int,
    outputs: int = 1,
    load_in_4bit: bool = False,
) -> PreTrainedModel:
    """A float32 reward model on a policy's trunk, with a fresh head.

    Head weights are normal with standard deviation 1 / sqrt(hidden + 1), so scores of unit-scale
    hidden states start near unit scale. Only they depend on `seed`.

    Raises:
        ModelError: no such model, or its classifier has no linear head.
    """
    model, _ = load_classifier(
        policy_path, device=device, load_in_4bit=load_in_4bit, num_labels=outputs
    )
    size = score_head(model).weight.shape
    generator = torch.Generator().manual_seed(seed)
    fill_head(model, torch.randn(size, generator=generator) / math.sqrt(size[1] + 1))
    return model


def load_reward_model(path: str, *, device: torch.device) -> PreTrainedModel:
    """A sequence classifier with one label, float32, in evaluation mode.

    Raises:
        ModelError: no such model, more than one label, or no saved head (a causal LM).
    """
    model, has_head = load_classifier(path, device=device)
    if not has_head:
        raise ModelError(
            f"{path}: holds no score head; expected a reward model: train one with the reward "
            "stage, which starts from a policy"
        )
    return model


def load_classifier(
    path: str,
    *,
    device: torch.device,
    load_in_4bit: bool = False,
    several_labels: bool = False,
    **labels: int,
) -> tuple[PreTrainedModel, bool]:
    """A classifier, and whether its head was saved (if not, it is random, from nobody's seed).

    Raises:
        ModelError: no such model, its saved head has more than one label and `several_labels` is
            false, or it reads something else than the last token.
    """
    if is_adapter(path):  # whose base does not tell how many labels the adapters' head has
        labels = {"num_labels": 1}
    with torch.random.fork_rng(devices=[]):
        model, missing = load_pretrained(
            AutoModelForSequenceClassification,
            path,
            device=device,
            load_in_4bit=load_in_4bit,
            dtype=torch.float32,
            **labels,
        )
    of_head = [name for name in missing if name.split(".")[0] in HEAD_NAMES]
    refuse_missing(path, [name for name in missing if name not in of_head])
    model.eval()  # type: ignore[no-untyped-call]
    use_fast_linear(model)
    use_packing(model)
    if model.config.num_labels != 1 and not of_head and not several_labels:
        raise ModelError(
            f"{path}: a classifier with {model.config.num_labels} labels; expected num_labels 1"
        )
    if not of_head:
        score_head(model)
    if of_head or model.config.pad_token_id is None:
        model.config.pad_token_id = _padding_id(ChatEncoder(load_tokenizer(path)))
    _refuse_other_readings(model, path)
    return model, not of_head


def _refuse_other_readings(model: PreTrainedModel, path: str) -> None:
    """An encoder's head reads a pooled first token: what it says of the last one means nothing."""
    ids = torch.tensor([[i for i in range(4) if i != model.config.pad_token_id][:3]])
    ids = ids.to(model.device)
    mask = torch.ones_like(ids)
    with torch.no_grad():
        own = model(ids, attention_mask=mask).logits.float()
        ours = head_readings(score_head(model), response_features(model, ids, mask))
    tolerance = FOUR_BIT_TOLERANCE if is_quantized(model) else 10 * RELOAD_TOLERANCE
    # What is not finite is told where it is scored.
    if (own - ours).abs().max() > tolerance * max(1.0, float(own.abs().max())):
        raise ModelError(
            f"{path}: a {type(model).__name__} does not score by its head at the last token, as "
            "encoders do not; expected a classifier on the trunk of a causal language model"
        )


def fill_head(model: nn.Module, weight: Tensor) -> None:
    head = score_head(model)
    with torch.no_grad():
        head.weight.copy_(weight)
        if head.bias is not None:
            head.bias.zero_()


def _padding_id(encoder: ChatEncoder) -> int:
    """The pad id, or another special token where padding with the end of turn would hide it."""
    special = [int(i) for i in encoder.tokenizer.all_special_ids]
    usable = [i for i in (encoder.pad_id, *special) if i != encoder.end_of_turn_id]
    return usable[0] if usable else encoder.pad_id


def score_head(model: nn.Module) -> Any:
    """The linear layer that turns hidden states into scores (under peft: the copy in use).

    Raises:
        ModelError: the model has none.
    """
    base = bare_model(model)
    for name in HEAD_NAMES:
        # Under peft the attribute is a wrapper, which hands on the weight of the active copy.
        head: Any = getattr(base, name, None)
        weight = getattr(head, "weight", None)
        if isinstance(weight, Tensor) and weight.dim() == 2:
            return head
    raise ModelError(
        f"{type(base).__name__} has no linear head named "
        f"{' or '.join(HEAD_NAMES)}; expected a family whose classifier reads its score by one"
    )


def head_readings(head: Any, hidden: Tensor) -> Tensor:
    """(..., H) hidden states to (..., outputs) float32, whatever autocast says."""
    with torch.autocast(device_type=hidden.device.type, enabled=False):
        bias = getattr(head, "bias", None)
        return nn.functional.linear(
            hidden.float(), head.weight.float(), None if bias is None else bias.float()
        )


def token_scores(
    model: nn.Module,
    input_ids: Tensor,
    attention_mask: Tensor | None,
    position_ids: Tensor | None = None,
) -> Tensor:
    """(B, L) float32: the head read at every token, of rows that are padded or packed."""
    hidden = hidden_states(model, input_ids, attention_mask, position_ids)
    return head_readings(score_head(model), hidden)[..., 0]


def response_scores(model: nn.Module, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    """(B,) float32 scores, read at each row's last real token.

    Args:
        model: a reward model, bare or under peft; gradients flow when they are enabled.
        input_ids: (B, L) prompt and response, right-padded with any id.
        attention_mask: (B, L), 1 on real tokens; the last one is found by it, never by an id.

    Raises:
        ValueError: a row has no token.
    """
    features = response_features(model, input_ids, attention_mask)
    return head_readings(score_head(model), features)[..., 0]


def response_features(model: nn.Module, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    """(B, H) what the head reads of each row; arguments and errors as for `response_scores`."""
    lengths = attention_mask.long().sum(dim=1, keepdim=True)
    if bool((lengths < 1).any()):
        raise ValueError("a row without a token has no score")
    last = torch.arange(input_ids.shape[1], device=lengths.device) == lengths - 1
    return hidden_states(model, input_ids, attention_mask, read=last)


def is_reward_model(model: str) -> bool:
    """Whether a directory or hub name is that of a sequence classifier: it scores, or it speaks.

    Raises:
        ModelError: there is no such model.
    """
    check_model_path(model)
    with named_errors(model):
        described = AutoConfig.from_pretrained(base_of(model))
    return any("SequenceClassification" in name for name in described.architectures or [])


def save_scored_model(
    model: nn.Module,
    tokenizer: Any,
    path: Path,
    *,
    sample: ScoredSample,
    beside: Callable[[Path], None] | None = None,
    load: Callable[..., PreTrainedModel] = load_reward_model,
) -> None:
    """Save a reward model (adapters merged), and make sure that what was saved scores alike.

    The new directory is reloaded, by `load`, and rescores `sample` before it gets its name, so a
    failed save never replaces a good one. `beside` writes what else belongs into the directory.

    Raises:
        ModelError: the reloaded scores differ, or the saved model cannot be loaded.
        StorageError: the disk refused.
    """
    processes.by_main(lambda: _save_and_rescore(model, tokenizer, path, sample, beside, load))


def _save_and_rescore(
    model: nn.Module,
    tokenizer: Any,
    path: Path,
    sample: ScoredSample,
    beside: Callable[[Path], None] | None,
    load: Callable[..., PreTrainedModel],
) -> None:
    with torch.no_grad(), evaluating(model):
        expected = _readings(model, sample)
    plain = merged(model)
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(plain.config.pad_token_id)
    with files.atomic_directory(path) as temporary:
        write_model(plain, tokenizer, temporary)
        if beside:
            beside(temporary)
        del plain
        reloaded = load(str(temporary), device=expected.device)
        with torch.no_grad():
            scores = _readings(reloaded, sample)
        difference = float((scores - expected).abs().max())
        tolerance = FOUR_BIT_TOLERANCE if is_quantized(model) else RELOAD_TOLERANCE
        if not difference <= tolerance * max(1.0, float(expected.abs().max())):
            raise ModelError(
                f"{path}: the head was not saved as it was trained: reloaded, its scores differ by "
                f"{difference:.3g}; expected at most {tolerance:g}. Nothing was replaced"
            )


def _readings(model: nn.Module, sample: ScoredSample) -> Tensor:
    """(B, outputs) of the head at each row's last token."""
    features = response_features(model, sample.input_ids, sample.attention_mask)
    return head_readings(score_head(model), features)
