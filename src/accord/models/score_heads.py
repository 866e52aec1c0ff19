"""Several score heads on one trunk: attributes, members of an ensemble, and a length head.

All are rows of one matrix, so their weighted mean is a head again: `folded` gives a reward model of
one label, which anything can read, and `ScoreHeads` keeps the rows beside it for the parts.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from accord.core.errors import ModelError
from accord.models.heads import HEAD_NAMES, score_head
from accord.models.lora import merged

# In a folder of its own: some loaders read every weights file that lies beside `config.json`.
_FILE = Path("score_heads") / "heads.safetensors"


@dataclass(frozen=True)
class Layout:
    """What the rows of the head matrix are: members x attributes, then the length head if any.

    Attributes:
        attributes: their names; none when there is a single score.
        weights: of the attributes in the score.
        members: of the ensemble that shares the trunk.
        has_length: whether the last row is the length head.
    """

    attributes: tuple[str, ...] = ()
    weights: tuple[float, ...] = (1.0,)
    members: int = 1
    has_length: bool = False

    @property
    def rows(self) -> int:
        """Outputs of the head."""
        return self.members * len(self.weights) + self.has_length

    def selectors(self, names: Sequence[str | None]) -> Tensor:
        """(n, A) what a judgement is about: one attribute, or, unnamed, the score's weights.

        Raises:
            ValueError: an attribute that there is no head for.
        """
        found = torch.tensor([self.weights] * len(names)).view(len(names), -1)
        for row, name in enumerate(names):
            if name is not None:
                found[row] = 0.0
                found[row, self.attributes.index(name)] = 1.0
        return found

    def members_of(self, readings: Tensor, selectors: Tensor) -> Tensor:
        """(..., M) every member's score, from readings (..., rows) and selectors (..., A)."""
        count = self.members * len(self.weights)
        shape = (*readings.shape[:-1], self.members, len(self.weights))
        parts = readings[..., :count].reshape(shape)
        members: Tensor = (parts * selectors.to(parts).unsqueeze(-2)).sum(-1)
        return members

    def scores(self, readings: Tensor) -> Tensor:
        """(...,) the score: the mean over members of the attributes' weighted sum."""
        return self.members_of(readings, torch.tensor(self.weights)).mean(-1)


class Parts(NamedTuple):
    """What the heads say of a response."""

    members: Tensor
    """(B, M) every member's score"""
    attributes: dict[str, Tensor]
    """(B,) each, the mean over members"""


@dataclass(frozen=True)
class ScoreHeads:
    """The rows of a folded head, and how the members' scores lie on held-out responses."""

    layout: Layout
    weight: Tensor
    """(rows, H)"""
    bias: Tensor
    """(rows,)"""
    means: tuple[float, ...] = ()
    """of every member's scores"""
    stds: tuple[float, ...] = ()

    def read(self, features: Tensor) -> Parts:
        """Members and attributes, from (B, H) of `heads.response_features`."""
        with torch.autocast(device_type=features.device.type, enabled=False):
            readings = nn.functional.linear(features.float(), self.weight, self.bias)
        layout = self.layout
        single = torch.eye(len(layout.weights))
        attributes = {
            name: layout.members_of(readings, single[i]).mean(-1)
            for i, name in enumerate(layout.attributes)
        }
        return Parts(layout.members_of(readings, torch.tensor(layout.weights)), attributes)

    def save(self, model_path: Path) -> None:
        """Write the rows into a reward model's directory."""
        (model_path / _FILE).parent.mkdir()
        about = {"layout": asdict(self.layout), "means": self.means, "stds": self.stds}
        tensors = {"weight": self.weight.cpu().contiguous(), "bias": self.bias.cpu().contiguous()}
        save_file(tensors, model_path / _FILE, metadata={"score_heads": json.dumps(about)})

    @classmethod
    def load(cls, model_path: Path, *, device: torch.device) -> Self | None:
        """What lies in a reward model's directory; None for a model of one plain score.

        Raises:
            ModelError: the file cannot be read.
        """
        path = model_path / _FILE
        if not path.is_file():
            return None
        try:
            with safe_open(path, framework="pt", device=str(device)) as file:
                about: dict[str, Any] = json.loads(file.metadata()["score_heads"])
                weight, bias = file.get_tensor("weight"), file.get_tensor("bias")
            layout = about["layout"]
            return cls(
                Layout(
                    tuple(layout["attributes"]),
                    tuple(layout["weights"]),
                    layout["members"],
                    layout["has_length"],
                ),
                weight,
                bias,
                tuple(about["means"]),
                tuple(about["stds"]),
            )
        except Exception as error:
            raise ModelError(
                f"{path}: cannot be read ({type(error).__name__}: {error}); copy the model again"
            ) from error


def folded(model: nn.Module, layout: Layout) -> tuple[PreTrainedModel, ScoreHeads]:
    """A reward model of one label whose score is `layout.scores`, and the rows it came from.

    Adapters are merged into a copy; a model without adapters is changed in place.
    """
    plain = merged(model)
    head = score_head(plain)
    weight: Tensor = head.weight.detach().float().clone()
    bias = torch.zeros(len(weight), device=weight.device)
    if head.bias is not None:
        bias = head.bias.detach().float().clone()
    if layout.rows > 1:
        single = nn.Linear(weight.shape[1], 1, bias=head.bias is not None, device=weight.device)
        with torch.no_grad():
            single.weight.copy_(layout.scores(weight.T)[None])
            if head.bias is not None:
                single.bias.copy_(layout.scores(bias)[None])
        name = next(n for n in HEAD_NAMES if getattr(plain, n, None) is head)
        setattr(plain, name, single)
        plain.config.num_labels = 1
        plain.num_labels = 1  # type: ignore[assignment]
    return plain, ScoreHeads(layout, weight, bias)
