"""Values: on a trunk of their own, in the form of a reward model, or on the policy's."""

from pathlib import Path
from typing import Self

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from accord.models.heads import (
    fill_head,
    head_readings,
    load_classifier,
    score_head,
    token_scores,
)


class ValueModel(nn.Module):
    """V(s) with a trunk of its own, in the form of a reward model that is read at every token."""

    def __init__(self, path: str, *, device: torch.device, load_in_4bit: bool = False) -> None:
        """From a saved value or a reward model (V starts as the score), or a policy (as 0).

        Raises:
            ModelError: no such model, or its classifier has no linear head.
        """
        super().__init__()
        model, has_head = load_classifier(
            path, device=device, load_in_4bit=load_in_4bit, num_labels=1
        )
        if not has_head:
            fill_head(model, torch.zeros(score_head(model).weight.shape))
        self.model: nn.Module = model

    @classmethod
    def load(cls, path: str, *, device: torch.device) -> Self:
        """What `save_scored_model` wrote of its model."""
        return cls(path, device=device)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """The same as `values`."""
        return _values_before(token_scores(self.model, input_ids, attention_mask))

    def values(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """(B, L) float32: column l is V of the state before token l; column 0 is 0.

        Args:
            input_ids: (B, L) prompt and response, right-padded.
            attention_mask: (B, L), 1 on real tokens; columns on padding mean nothing.
        """
        return self.forward(input_ids, attention_mask)


class ValueHead(nn.Module):
    """V(s) read off the policy's own hidden states; starts as 0; the trunk gets gradient too."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden_size, 1)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    @classmethod
    def load(cls, path: str, *, device: torch.device) -> Self:
        """What PPO left in `value/`; it reads the hidden states of the policy beside it."""
        weights = load_file(Path(path) / "head.safetensors")
        head = cls(weights["linear.weight"].shape[1])
        head.load_state_dict(weights)
        return head.to(device)

    def forward(self, hidden: Tensor) -> Tensor:
        """The same as `values`."""
        return _values_before(head_readings(self.linear, hidden)[..., 0])

    def values(self, hidden: Tensor) -> Tensor:
        """(B, L) float32 as `ValueModel.values`, from (B, L, H) hidden states of the policy."""
        return self.forward(hidden)


def _values_before(readings: Tensor) -> Tensor:
    """Move (B, L) readings one column right: what follows token l - 1 is the state before l."""
    return nn.functional.pad(readings[:, :-1], (1, 0))
