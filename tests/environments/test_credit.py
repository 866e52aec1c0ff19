"""KL and GAE across an observation, by numbers worked out by hand."""

import pytest
import torch

from accord.objectives.gae import gae
from accord.objectives.kl import kl_k1, kl_loss
from accord.objectives.rewards import per_token_rewards

ABSURD = 1e6
MASK = torch.tensor([[True, False, False, True]])
"""An action of one token, an observation of two, an action of one token."""


def test_the_state_after_an_action_is_the_one_after_its_observation() -> None:
    """delta_1 = 0 + 0.5 * 1 - 3, delta_4 = 8 - 1; what lies between is never read, and no step."""
    out = gae(
        torch.tensor([[0.0, ABSURD, ABSURD, 8.0]]),
        torch.tensor([[3.0, ABSURD, ABSURD, 1.0]]),
        MASK,
        gamma=0.5,
        lam=0.5,
    )
    assert out.advantages.tolist() == [[-2.5 + 0.25 * 7.0, 0.0, 0.0, 7.0]]
    assert out.returns.tolist() == [[3.0 - 0.75, 0.0, 0.0, 8.0]]


def test_the_kl_is_of_chosen_tokens_alone() -> None:
    """-(0.1 * 2) at the first action, -(0.1 * -1) and the score at the last."""
    logprobs = torch.tensor([[-1.0, ABSURD, -ABSURD, -2.0]])
    reference = torch.tensor([[-3.0, 0.0, 0.0, -1.0]])
    kl = kl_k1(logprobs, reference)
    rewards = per_token_rewards(kl, torch.tensor([5.0]), MASK, kl_coef=0.1)
    assert rewards[MASK].tolist() == pytest.approx([-0.2, 5.1])
    mean = kl_loss(logprobs, reference, MASK, estimator="k1")
    assert mean.item() == pytest.approx((2.0 - 1.0) / 2)
