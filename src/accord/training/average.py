"""A moving average of the weights that train, which a stage may evaluate and save."""

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from accord.models.sharding import share_of


class MovingAverage:
    """An exponential average of a module's trained weights; without a decay, nothing at all.

        average <- decay average + (1 - decay) weights,   first the weights themselves

    Under LoRA the adapters' two factors are averaged, each by itself.

    Source: Polyak and Juditsky 1992 (averages of iterates); Tarvainen and Valpola 2017,
    arXiv:1703.01780, section 2, alpha.

    Attributes:
        weights: the average by name, for a checkpoint; empty without a decay.
    """

    def __init__(self, module: nn.Module, *, decay: float | None) -> None:
        """Start at the weights of now.

        Raises:
            ValueError: the decay does not lie in (0, 1).
        """
        if decay is not None and not 0 < decay < 1:
            raise ValueError(f"decay must lie in (0, 1), got {decay}")
        self._decay = decay
        self._trained = {
            name: parameter
            for name, parameter in module.named_parameters()
            if decay is not None and parameter.requires_grad
        }
        self.weights: dict[str, Tensor] = {n: p.detach().clone() for n, p in self._trained.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights of now."""
        if self._decay is None:
            return
        for name, parameter in self._trained.items():
            self.weights[name].lerp_(parameter, 1 - self._decay)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """The module has the average inside, and afterwards, bit for bit, what it had before."""
        trained = {name: p.detach().clone() for name, p in self._trained.items()}
        self.settle()
        try:
            yield
        finally:
            _write(trained, self._trained)

    def settle(self) -> None:
        """Leave the average in the module."""
        _write(self.weights, self._trained)

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Go on from `weights` of a checkpoint."""
        _write(weights, self.weights)


@torch.no_grad()
def _write(source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
    # Copied, not exchanged: an engine may hold on to the module's memory.
    for name, tensor in target.items():
        tensor.copy_(share_of(source[name], tensor))
