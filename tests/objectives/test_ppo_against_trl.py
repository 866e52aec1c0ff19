"""PPO against the lines of TRL's trainer, in the last TRL that had one (1.12)."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from accord.objectives.gae import gae
from accord.objectives.kl import kl_estimate
from accord.objectives.masked import whiten, zero_outside
from accord.objectives.ppo import clipped_policy_loss, clipped_value_loss, ppo_loss
from accord.objectives.rewards import per_token_rewards
from objectives.trl_parts import run_lines

ppo_trainer: Any = pytest.importorskip("trl.experimental.ppo.ppo_trainer", exc_type=ImportError)

pytestmark = pytest.mark.oracle

ROWS, LENGTH = 8, 11
SEEDS = [0, 1, 2]


class Rollouts:
    """Random responses as TRL's trainer holds them, masks and all.

    TRL counts one token more than a response has, where there is room: the score is paid there, and
    the value of the state after the response is read and learned there. Ours ends with the last
    token. Taken as a response with that token, `mask_p1`, theirs is ours.
    """

    def __init__(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)

        def draw(*shape: int, scale: float = 1.0) -> Tensor:
            return scale * torch.randn(*shape, generator=generator)

        # The index of the last token, as in TRL; one row fills the width.
        last = torch.randint(0, LENGTH - 1, (ROWS,), generator=generator)
        last[0] = LENGTH - 1
        columns = torch.arange(LENGTH).expand(ROWS, -1)
        self.padding = columns > last[:, None]
        self.padding_p1 = columns > last[:, None] + 1
        self.mask, self.mask_p1 = ~self.padding, ~self.padding_p1
        invalid = ppo_trainer.INVALID_LOGPROB
        self.logprobs = (-draw(ROWS, LENGTH).abs()).masked_fill(self.padding, invalid)
        self.reference = (-draw(ROWS, LENGTH).abs()).masked_fill(self.padding, invalid)
        self.values = draw(ROWS, LENGTH).masked_fill(self.padding_p1, 0)
        self.scores = draw(ROWS, scale=3)
        self.last = last
        self.new_logprobs = self.logprobs + draw(ROWS, LENGTH, scale=0.4)
        self.new_values = self.values + draw(ROWS, LENGTH, scale=0.4)

    def trl(self, estimator: str) -> dict[str, Any]:
        """Rewards, advantages (whitened, as only they are kept) and returns by TRL's lines."""
        seen: list[Tensor] = []

        def watched_whiten(values: Tensor, mask: Tensor, shift_mean: bool = True) -> Tensor:
            seen.append(values.clone())
            found: Tensor = ppo_trainer.masked_whiten(values, mask, shift_mean)
            return found

        found = run_lines(
            ppo_trainer.PPOTrainer.train,
            "logr = ref_logprobs - logprobs",
            "advantages = torch.masked_fill(advantages, padding_mask, 0)",
            args=SimpleNamespace(
                kl_estimator=estimator, kl_coef=0.2, whiten_rewards=False, gamma=0.97, lam=0.9
            ),
            logprobs=self.logprobs,
            ref_logprobs=self.reference,
            sequence_lengths=self.last,
            sequence_lengths_p1=self.last + 1,
            scores=self.scores,
            values=self.values,
            padding_mask=self.padding,
            padding_mask_p1=self.padding_p1,
            responses=self.logprobs,
            masked_whiten=watched_whiten,
        )
        return {**found, "unwhitened": seen[0]}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("estimator", ["k1", "k3"])
def test_rewards_advantages_and_returns(estimator: str, seed: int) -> None:
    made = Rollouts(seed)
    theirs = made.trl(estimator)
    kl = kl_estimate(made.logprobs, made.reference, estimator=estimator)
    rewards = per_token_rewards(kl, made.scores, made.mask_p1, kl_coef=0.2)
    torch.testing.assert_close(rewards, theirs["rewards"], atol=1e-5, rtol=1e-5)
    ours = gae(rewards, made.values, made.mask_p1, gamma=0.97, lam=0.9)
    expected = zero_outside(theirs["unwhitened"], made.mask_p1)
    torch.testing.assert_close(ours.advantages, expected, atol=1e-5, rtol=1e-5)
    expected = zero_outside(theirs["returns"], made.mask_p1)
    torch.testing.assert_close(ours.returns, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("shift_mean", [True, False])
def test_whitening(shift_mean: bool, seed: int) -> None:
    """TRL divides by n - 1, ours by n; that much apart, and no more."""
    made = Rollouts(seed)
    values = made.new_values
    theirs = ppo_trainer.masked_whiten(values, made.mask, shift_mean)
    count = made.mask.sum()
    mean = 0.0 if shift_mean else values[made.mask].mean()
    ours = (whiten(values, made.mask, shift_mean=shift_mean) - mean) * ((count - 1) / count).sqrt()
    torch.testing.assert_close((ours + mean)[made.mask], theirs[made.mask], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("seed", SEEDS)
def test_losses(seed: int) -> None:
    made = Rollouts(seed)
    before = made.trl("k1")
    logprobs = made.new_logprobs.clone().requires_grad_()
    values = made.new_values.clone().requires_grad_()
    rows = torch.arange(ROWS)
    theirs = run_lines(
        ppo_trainer.PPOTrainer.train,
        "vpred = torch.masked_fill(vpred,",
        "loss = pg_loss + args.vf_coef * vf_loss",
        args=SimpleNamespace(cliprange=0.2, cliprange_value=0.3, vf_coef=0.1),
        vpred=values,
        padding_mask=made.padding,
        padding_mask_p1=made.padding_p1,
        micro_batch_inds=rows,
        mb_values=made.values,
        mb_return=before["returns"],
        mb_advantage=before["advantages"],
        mb_logprobs=made.logprobs,
        new_logprobs=logprobs.masked_fill(made.padding, ppo_trainer.INVALID_LOGPROB),
    )
    policy = clipped_policy_loss(
        logprobs, made.logprobs, before["advantages"], made.mask, cliprange=0.2
    )
    value = clipped_value_loss(
        values, made.values, before["returns"], made.mask_p1, cliprange_value=0.3
    )
    assert policy.clip_fraction > 0 and value.clip_fraction > 0
    whole = ppo_loss(policy.loss, value.loss, torch.zeros(()), vf_coef=0.1, entropy_coef=0.0)
    for ours, other in (
        (policy.loss, theirs["pg_loss"]),
        (value.loss, theirs["vf_loss"]),
        (value.clip_fraction, theirs["vf_clipfrac"]),
        (whole, theirs["loss"]),
    ):
        torch.testing.assert_close(ours, other, atol=1e-5, rtol=1e-5)
    for mine, other in zip(
        torch.autograd.grad(whole, [logprobs, values]),
        torch.autograd.grad(theirs["loss"], [logprobs, values]),
        strict=True,
    ):
        assert other.abs().max() > 0
        torch.testing.assert_close(mine, other, atol=1e-5, rtol=1e-5)
