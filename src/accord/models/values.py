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
)
from accord.models.logprobs import before, hidden_states, on_grid


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

    def forward(self, input_ids: Tensor, attention_mask: Tensor, target_mask: Tensor) -> Tensor:
        """The same as `values`."""
        read = before(target_mask)
        states = hidden_states(self.model, input_ids, attention_mask, read=read)
        return on_grid(head_readings(score_head(self.model), states)[..., 0], target_mask)

    def values(self, input_ids: Tensor, attention_mask: Tensor, target_mask: Tensor) -> Tensor:
        """(B, L) float32: V of the state before token l where it is a target, and 0 elsewhere.

        Args:
            input_ids: (B, L) prompt and response, right-padded.
            attention_mask: (B, L), 1 on real tokens.
            target_mask: (B, L) bool; column 0 must be False, since nothing precedes it.
        """
        return self.forward(input_ids, attention_mask, target_mask)


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

    def forward(self, states: Tensor, target_mask: Tensor) -> Tensor:
        """The same as `values`."""
        return on_grid(head_readings(self.linear, states)[..., 0], target_mask)

    def values(self, states: Tensor, target_mask: Tensor) -> Tensor:
        """(B, L) as `ValueModel.values`, from the policy's states (N, H) before the targets."""
        return self.forward(states, target_mask)
