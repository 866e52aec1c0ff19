"""Greedy coordinate gradient on weights that are ours, and the random search that it has to beat.

Source: Zou et al. 2023, arXiv:2307.15043, algorithm 1. What it finds is what training should take
away; it needs the weights, so it attacks nobody else's model.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from accord.core.device import default_device
from accord.core.files import hash_json
from accord.corpora.encoding import ChatEncoder
from accord.judges.remembered import Memory
from accord.models.loading import evaluating, load_policy, load_tokenizer
from accord.red_team.attack import Ask, Turns, said
from accord.red_team.behaviours import Behaviour
from accord.red_team.suffix import SuffixLoss

TOP_K = 64
"""Replacements of a place that the gradient holds to be the best, from which is drawn."""


@dataclass(frozen=True)
class Found:
    """A suffix, its loss in nats a token, and the loss after each step."""

    suffix: tuple[int, ...]
    loss: float
    path: tuple[float, ...]


def greedy_coordinate_gradient(
    loss: SuffixLoss, *, steps: int, candidates: int, seed: int, top_k: int = TOP_K
) -> Found:
    """Steps of one gradient, `candidates` single replacements drawn by it, and the best of them.

    A candidate that the tokenizer would read as other tokens is never tried. Other than in the
    paper, a step that finds nothing better changes nothing.
    """
    rng = torch.Generator().manual_seed(seed)
    current = torch.tensor(loss.start)
    best = float(loss.losses(current[None]))
    path = [best]
    for _ in range(steps):
        slope = loss.gradient(current.tolist())
        slope[:, ~loss.allowed] = float("inf")
        choices = (-slope).topk(min(top_k, int(loss.allowed.sum())), dim=1).indices
        current, best = _stepped(loss, current, best, choices, candidates, rng)
        path.append(best)
    return Found(tuple(current.tolist()), best, tuple(path))


def random_search(loss: SuffixLoss, *, steps: int, candidates: int, seed: int) -> Found:
    """The same without a gradient: replacements are drawn from all tokens that are allowed."""
    rng = torch.Generator().manual_seed(seed)
    current = torch.tensor(loss.start)
    best = float(loss.losses(current[None]))
    path = [best]
    choices = loss.allowed.nonzero().squeeze(-1).expand(len(current), -1)
    for _ in range(steps):
        current, best = _stepped(loss, current, best, choices, candidates, rng)
        path.append(best)
    return Found(tuple(current.tolist()), best, tuple(path))


def _stepped(
    loss: SuffixLoss,
    current: Tensor,
    best: float,
    choices: Tensor,
    candidates: int,
    rng: torch.Generator,
) -> tuple[Tensor, float]:
    """The best of `candidates` replacements of one token, or the suffix as it was.

    Args:
        choices: (n, C) tokens that each place may become.
    """
    tried = []
    for _ in range(20 * candidates):  # some texts have few neighbours that stay the same tokens
        place = int(torch.randint(len(current), (), generator=rng))
        token = choices[place, torch.randint(choices.shape[1], (), generator=rng)]
        neighbour = current.clone()
        neighbour[place] = token
        if token != current[place] and loss.is_faithful(neighbour.tolist()):
            tried.append(neighbour)
        if len(tried) == candidates:
            break
    if not tried:
        return current, best
    losses = loss.losses(torch.stack(tried))
    lowest = int(losses.argmin())
    if float(losses[lowest]) < best:
        return tried[lowest], float(losses[lowest])
    return current, best


class Gcg:
    """The search as an attack: for behaviours that name a target.

    Args:
        model: our own policy's directory.
        steps: of the search, for each behaviour.
        candidates: of each step.
        memory: where suffixes are kept: they are searched once.
        length: of the suffix in tokens.
    """

    name = "gcg"
    family = "gradient"
    needs_attacker = False

    def __init__(
        self, model: str, *, steps: int, candidates: int, memory: Memory, length: int = 12
    ) -> None:
        self.model = model
        self.steps = steps
        self.candidates = candidates
        self.memory = memory
        self.length = length

    @cached_property
    def _loaded(self) -> tuple[Any, ChatEncoder]:
        policy = load_policy(self.model, device=default_device())
        return policy, ChatEncoder(load_tokenizer(self.model))

    def turns(self, behaviour: Behaviour, *, budget: int, seed: int) -> Turns:
        """One suffix, said as often as the budget has draws; nothing without a target."""
        if behaviour.target is None:
            return
        own = [self.steps, self.candidates, self.length, behaviour.text, behaviour.target, seed]
        key = hash_json(own)
        if key not in self.memory:
            policy, encoder = self._loaded
            with evaluating(policy):
                loss = SuffixLoss(
                    policy, encoder, behaviour.text, behaviour.target, length=self.length
                )
                found = greedy_coordinate_gradient(
                    loss, steps=self.steps, candidates=self.candidates, seed=seed
                )
            self.memory.add({key: {"text": loss.text(found.suffix), "loss": found.loss}})
        text = str(self.memory[key]["text"])
        yield [Ask(said(text), seed=seed + draw) for draw in range(budget)]
