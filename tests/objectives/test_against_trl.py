"""Every objective against TRL's code for it, on random tensors: equal losses, equal gradients.

Where the two differ on purpose, the test states by how much.
"""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

pytest.importorskip("trl", minversion="1.16")

from trl import DPOTrainer, GRPOTrainer, KTOTrainer, RewardTrainer, RLOOTrainer
from trl.experimental.cpo import CPOTrainer
from trl.experimental.orpo import ORPOTrainer

from accord.objectives.bradley_terry import bradley_terry_loss
from accord.objectives.dpo import dpo_loss, response_logps
from accord.objectives.groups import group_advantages, token_weights
from accord.objectives.kl import kl_estimate, kl_loss
from accord.objectives.kto import kto_baseline, kto_loss
from accord.objectives.masked import masked_mean
from accord.objectives.ppo import clipped_policy_loss
from accord.objectives.reference_free import orpo_loss, simpo_loss
from objectives.trl_parts import bare, outputs, run_lines

pytestmark = pytest.mark.oracle

PAIRS, LENGTH = 6, 9
SEEDS = [0, 1, 2]


def random(*shape: int, seed: int, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def random_mask(rows: int, length: int, seed: int) -> Tensor:
    """(rows, length) bool: at least one token a row, on the left, of uneven lengths."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, length + 1, (rows, 1), generator=generator)
    return torch.arange(length) < lengths


def assert_same(ours: Tensor, theirs: Tensor, leaves: list[Tensor]) -> None:
    """Equal values, and equal gradients to each leaf, none of which is 0 throughout."""
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    for mine, other in zip(
        torch.autograd.grad(ours, leaves, retain_graph=True),
        torch.autograd.grad(theirs, leaves, retain_graph=True),
        strict=True,
    ):
        assert other.abs().max() > 0
        torch.testing.assert_close(mine, other, atol=1e-5, rtol=1e-5)


def trl_dpo(
    tokens: Tensor, mask: Tensor, reference: Tensor, *, loss_type: str, **values: Any
) -> Tensor:
    """TRL's loss of (2B, T) token log-probs, chosen rows before rejected ones."""
    settings = {"beta": 0.3, "label_smoothing": 0.0, "ld_alpha": None, **values}
    trainer = bare(
        DPOTrainer,
        precompute_ref_logps=True,
        f_divergence_type="reverse_kl",
        loss_types=[loss_type],
        loss_weights=[1.0],
        use_weighting=False,
        args=SimpleNamespace(),
        **settings,
    )
    with_prompt = torch.cat([torch.zeros(len(mask), 1, dtype=torch.long), mask.long()], dim=1)
    chosen, rejected = reference.chunk(2)
    inputs = {
        "input_ids": torch.zeros_like(with_prompt),
        "attention_mask": torch.ones_like(with_prompt),
        "completion_mask": with_prompt,
        "ref_chosen_logps": chosen,
        "ref_rejected_logps": rejected,
    }
    found: Tensor = trainer._compute_loss(lambda **_: outputs(tokens * mask), inputs, False)
    return found


def pairs(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Token log-probs that learn, their mask, and the reference's log-probs of the responses."""
    mask = random_mask(2 * PAIRS, LENGTH, seed)
    tokens = (-random(2 * PAIRS, LENGTH, seed=seed).abs()).requires_grad_()
    reference = (-random(2 * PAIRS, LENGTH, seed=seed + 100).abs() * mask).sum(1)
    return tokens, mask, reference


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("loss_type", ["sigmoid", "hinge", "robust", "apo_zero", "apo_down"])
def test_dpo(loss_type: str, seed: int) -> None:
    tokens, mask, reference = pairs(seed)
    smoothing = 0.1 if loss_type == "robust" else 0.0  # TRL's others know no label smoothing
    ours = dpo_loss(
        *response_logps(tokens, mask).chunk(2), *reference.chunk(2),
        beta=0.3, loss_type=loss_type, label_smoothing=smoothing,
    ).loss  # fmt: skip
    theirs = trl_dpo(tokens, mask, reference, loss_type=loss_type, label_smoothing=smoothing)
    assert_same(ours, theirs, [tokens])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("loss_type", "name"), [("ipo", "ipo"), ("sigmoid", "sigmoid_norm")])
def test_dpo_on_mean_logprobs(loss_type: str, name: str, seed: int) -> None:
    """TRL's IPO always reads means over tokens; ours does with `length_normalized`."""
    tokens, mask, reference = pairs(seed)
    ours = dpo_loss(
        *response_logps(tokens, mask, length_normalized=True).chunk(2),
        *(reference / mask.sum(1)).chunk(2),
        beta=0.3, loss_type=loss_type,
    ).loss  # fmt: skip
    assert_same(ours, trl_dpo(tokens, mask, reference, loss_type=name), [tokens])


@pytest.mark.parametrize("seed", SEEDS)
def test_length_desensitised_dpo(seed: int) -> None:
    tokens, mask, reference = pairs(seed)
    shared = torch.minimum(*mask.sum(1).chunk(2)).repeat(2)
    logps = response_logps(tokens, mask, public_lengths=shared, alpha=0.4)
    ours = dpo_loss(*logps.chunk(2), *reference.chunk(2), beta=0.3).loss
    theirs = trl_dpo(tokens, mask, reference, loss_type="sigmoid", ld_alpha=0.4)
    assert_same(ours, theirs, [tokens])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("loss_type", ["sigmoid", "hinge"])
def test_conservative_labels(loss_type: str, seed: int) -> None:
    """CPO is DPO without a reference; its label smoothing is one soft label for all."""
    chosen, rejected = (random(PAIRS, seed=seed + i, scale=5).requires_grad_() for i in (0, 9))
    smoothing = 0.2 if loss_type == "sigmoid" else 0.0
    trainer = bare(
        CPOTrainer, alpha=0.0, beta=0.3, loss_type=loss_type, label_smoothing=smoothing,
        simpo_gamma=0.0,
    )  # fmt: skip
    theirs = trainer.cpo_loss(chosen, rejected)[0].mean()
    zero = torch.zeros(PAIRS)
    given = {"beta": 0.3, "loss_type": loss_type}
    ours = dpo_loss(chosen, rejected, zero, zero, label_smoothing=smoothing, **given).loss  # type: ignore[arg-type]
    assert_same(ours, theirs, [chosen, rejected])
    soft = torch.full((PAIRS,), 1 - smoothing)
    ours = dpo_loss(chosen, rejected, zero, zero, p_chosen=soft, **given).loss  # type: ignore[arg-type]
    assert_same(ours, theirs, [chosen, rejected])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("gamma", "smoothing"), [(0.7, 0.0), (0.0, 0.2)])
def test_simpo(gamma: float, smoothing: float, seed: int) -> None:
    """With both a margin and soft labels the two differ: ours asks either side for the margin."""
    chosen, rejected = (random(PAIRS, seed=seed + i).requires_grad_() for i in (0, 9))
    trainer = bare(
        CPOTrainer, alpha=0.0, beta=2.0, loss_type="simpo", label_smoothing=smoothing,
        simpo_gamma=gamma,
    )  # fmt: skip
    theirs = trainer.cpo_loss(chosen, rejected)[0].mean()
    label = torch.full((PAIRS,), 1 - smoothing)
    ours = simpo_loss(chosen, rejected, beta=2.0, gamma=gamma, p_chosen=label).loss
    assert_same(ours, theirs, [chosen, rejected])


@pytest.mark.parametrize("seed", SEEDS)
def test_orpo(seed: int) -> None:
    chosen, rejected = (
        (-random(PAIRS, seed=seed + i).abs() - 0.05).requires_grad_() for i in (0, 9)
    )
    odds = bare(ORPOTrainer, beta=0.2).odds_ratio_loss(chosen, rejected)[0]
    theirs = -chosen.mean() - odds.mean()  # as TRL adds up: likelihood less the odds' logarithm
    assert_same(orpo_loss(chosen, rejected, beta=0.2).loss, theirs, [chosen, rejected])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("shift", [1.0, -5.0])  # a reference point above 0, and one cut to 0
def test_kto(shift: float, seed: int) -> None:
    rows = 2 * PAIRS
    tokens, mask, reference = pairs(seed)
    strangers = -random(rows, LENGTH, seed=seed + 50).abs() * mask
    strangers_reference = strangers.sum(1) - shift
    labels = torch.arange(rows) % 3 != 0
    with_prompt = torch.cat([torch.zeros(rows, 1, dtype=torch.long), mask.long()], dim=1)
    trainer = bare(
        KTOTrainer, calculate_KL=True, precompute_ref_logps=True, loss_type="kto", beta=0.3,
        desirable_weight=1.3, undesirable_weight=0.7,
    )  # fmt: skip
    of_strangers = torch.ones_like(with_prompt)
    theirs = trainer._compute_loss(
        lambda input_ids, **_: outputs(strangers if input_ids is of_strangers else tokens * mask),
        {
            "input_ids": torch.zeros_like(with_prompt),
            "attention_mask": torch.ones_like(with_prompt),
            "completion_mask": with_prompt,
            "KL_input_ids": of_strangers,
            "KL_attention_mask": torch.ones_like(with_prompt),
            "KL_completion_mask": with_prompt,
            "label": labels,
            "ref_logps": reference,
            "ref_KL_logps": strangers_reference,
        },
        False,
    )
    baseline = kto_baseline(strangers.sum(1), strangers_reference)
    assert float(baseline) == pytest.approx(max(shift, 0.0), abs=1e-4)
    ours = kto_loss(
        response_logps(tokens, mask), reference, labels, baseline, beta=0.3,
        desirable_weight=1.3, undesirable_weight=0.7,
    ).loss  # fmt: skip
    assert_same(ours, theirs, [tokens])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("has_margin", [False, True])
def test_bradley_terry(has_margin: bool, seed: int) -> None:
    scores = random(2 * PAIRS, seed=seed, scale=2).requires_grad_()
    margin = random(PAIRS, seed=seed + 9) if has_margin else None
    trainer = bare(RewardTrainer, args=SimpleNamespace(center_rewards_coefficient=None))
    inputs = {"attention_mask": torch.ones(1)} | ({} if margin is None else {"margin": margin})
    theirs = trainer.compute_loss(lambda **_: SimpleNamespace(logits=scores[:, None]), inputs)
    assert_same(bradley_terry_loss(*scores.chunk(2), margin=margin).loss, theirs, [scores])


GRPO_FORMS = {
    # TRL's loss type -> our aggregation
    "grpo": "sequence",
    "bnpo": "token",
    "dapo": "token",
    "dr_grpo": "constant",
}


def trl_grpo(
    logprobs: Tensor, old: Tensor, advantages: Tensor, mask: Tensor, *, loss_type: str,
    level: str = "token", low: float = 0.2, high: float = 0.2, delta: float | None = None,
    beta: float = 0.0, reference: Tensor | None = None,
) -> Tensor:  # fmt: skip
    trainer = bare(
        GRPOTrainer,
        _get_per_token_logps_and_entropies=lambda *_, **__: (logprobs, logprobs.detach(), None),
        args=SimpleNamespace(use_bias_correction_kl=False, delta=delta, steps_per_generation=1),
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        importance_sampling_level=level,
        beta=beta,
        loss_type=loss_type,
        epsilon_low=low,
        epsilon_high=high,
        use_vllm=False,
        current_gradient_accumulation_steps=1,
        max_completion_length=LENGTH + 3,
        _entropy_bonus_enabled=False,
    )
    ids = torch.zeros(mask.shape, dtype=torch.long)
    inputs = {
        "prompt_ids": ids[:, :1],
        "prompt_mask": torch.ones_like(ids[:, :1]),
        "completion_ids": ids,
        "completion_mask": mask.long(),
        "advantages": advantages,
        "old_per_token_logps": old,
        "ref_per_token_logps": reference,
        "num_items_in_batch": mask.sum(),
    }
    found: Tensor = trainer._compute_loss(None, inputs)
    return found


def rollouts(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    mask = random_mask(2 * PAIRS, LENGTH, seed)
    old = -random(2 * PAIRS, LENGTH, seed=seed).abs()
    logprobs = (old + random(2 * PAIRS, LENGTH, seed=seed + 9, scale=0.4)).requires_grad_()
    return logprobs, old, random(2 * PAIRS, seed=seed + 20), mask


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("loss_type", list(GRPO_FORMS))
@pytest.mark.parametrize(
    ("level", "clips", "delta"),
    [
        ("token", (0.2, 0.2), None),
        ("token", (0.2, 0.28), None),  # DAPO's clip-higher
        ("token", (0.2, 0.28), 1.5),  # a floor under what a bad action can cost
        ("sequence", (0.05, 0.08), None),  # GSPO
    ],
)
def test_grpo(
    level: str, clips: tuple[float, float], delta: float | None, loss_type: str, seed: int
) -> None:
    logprobs, old, advantages, mask = rollouts(seed)
    weights, denominator = token_weights(
        mask, aggregation=GRPO_FORMS[loss_type], max_length=LENGTH + 3
    )
    ours = clipped_policy_loss(
        logprobs, old, advantages[:, None].expand_as(mask), mask, cliprange=clips[0],
        cliprange_high=clips[1], dual_clip=delta, level=level, weights=weights,
        denominator=denominator,
    )  # fmt: skip
    theirs = trl_grpo(
        logprobs, old, advantages, mask, loss_type=loss_type, level=level, low=clips[0],
        high=clips[1], delta=delta,
    )  # fmt: skip
    assert ours.clip_fraction > 0  # some of these are clipped, or the clip was not tested
    assert_same(ours.loss, theirs, [logprobs])


@pytest.mark.parametrize("seed", SEEDS)
def test_grpo_with_a_kl_term(seed: int) -> None:
    """TRL differentiates k3 itself. Ours has k3's value with k2's gradient, which is the KL's."""
    logprobs, old, advantages, mask = rollouts(seed)
    reference = old + random(*old.shape, seed=seed + 30, scale=0.3)
    plain = trl_grpo(logprobs, old, advantages, mask, loss_type="bnpo")
    with_kl = trl_grpo(
        logprobs, old, advantages, mask, loss_type="bnpo", beta=0.5, reference=reference
    )
    theirs = (with_kl - plain) / 0.5
    k3 = masked_mean(kl_estimate(logprobs, reference, estimator="k3"), mask)
    assert_same(k3, theirs, [logprobs])
    ours = kl_loss(logprobs, reference, mask, estimator="k3")
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    k2 = masked_mean(kl_estimate(logprobs, reference, estimator="k2"), mask)
    torch.testing.assert_close(
        torch.autograd.grad(ours, logprobs), torch.autograd.grad(k2, logprobs)
    )


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("scale_rewards", "kind"), [("group", "scaled"), ("none", "centred")])
def test_grpo_advantages(scale_rewards: str, kind: str, seed: int) -> None:
    scores = random(5 * 4, seed=seed, scale=3)
    found = run_lines(
        GRPOTrainer._generate_and_score_completions,
        "unscorable_mask = torch.isnan",
        "advantages = torch.nan_to_num",
        self=SimpleNamespace(
            multi_objective_aggregation="sum_then_normalize",
            reward_weights=torch.ones(1),
            scale_rewards=scale_rewards,
        ),
        rewards_per_func=scores[:, None],
        num_generations=4,
        device=torch.device("cpu"),
    )
    ours = group_advantages(scores, group_size=4, kind=kind)
    torch.testing.assert_close(ours, found["advantages"], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("seed", SEEDS)
def test_rloo_advantages(seed: int) -> None:
    scores = random(5 * 4, seed=seed, scale=3)
    found = run_lines(
        RLOOTrainer._generate_and_score_completions,
        "grouped_rewards = rewards.view",
        "advantages = torch.nan_to_num",
        self=SimpleNamespace(normalize_advantages=False),
        rewards=scores,
        num_generations=4,
    )
    ours = group_advantages(scores, group_size=4, kind="leave_one_out")
    torch.testing.assert_close(ours, found["advantages"], atol=1e-5, rtol=1e-5)
