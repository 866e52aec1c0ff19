"""What RLOO and REINFORCE++ make of scores, beside plain loops over responses and tokens."""

import importlib
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from accord.core.run_dir import RunDir
from accord.stages.policy_training.critic_free_update import Method
from accord.stages.policy_training.group_sampling import Sampled
from accord.training.batches import TokenBatch
from accord.wiring import stage_config

ROWS, LENGTH, GROUP = 8, 7, 4


def method_of(name: str, monkeypatch: pytest.MonkeyPatch, out: Path, **values: Any) -> Method:
    """What the stage would train by."""
    stage = importlib.import_module(f"accord.stages.policy_training.{name}.run")
    found: list[Method] = []
    monkeypatch.setattr(stage, "train", lambda config, run_dir, method, **_: found.append(method))
    fields = {"model_name_or_path": "m", "prompts": "p", "max_completion_length": LENGTH, **values}
    config = stage_config(name).parse(fields, where="test")
    stage.run(config, RunDir(out), engine_factory=None)
    return found[0]


def sampled(seed: int) -> Sampled:
    """Responses of uneven lengths; one has an observation in its middle, one does not count."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(2, LENGTH, (ROWS, 1), generator=generator)
    mask = (torch.arange(LENGTH) > 0) & (torch.arange(LENGTH) <= lengths)
    mask[0] = torch.tensor([0, 1, 1, 0, 0, 1, 1]).bool()
    mask[5] = False
    ids = torch.zeros(ROWS, LENGTH, dtype=torch.long)
    ours, reference = torch.randn(2, ROWS, LENGTH, generator=generator)
    scores = torch.randn(ROWS, generator=generator)
    return Sampled(TokenBatch(ids, torch.ones_like(ids), mask), ours, reference, scores)


def penalties(given: Sampled, row: int) -> dict[int, float]:
    """By chosen token, the log-ratio to the reference."""
    places = given.batch.target_mask[row].nonzero().flatten().tolist()
    assert given.reference_logprobs is not None
    ratio = given.sampler_logprobs - given.reference_logprobs
    return {place: float(ratio[row, place]) for place in places}


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("group", [1, GROUP])
def test_reinforce_is_the_return_normalised_over_all_tokens(
    seed: int, group: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hu et al. 2025, arXiv:2501.03262: the score less the KL of the tokens from here on."""
    values = {"kl_coef": 0.3, "num_generations": group}
    method = method_of("reinforce", monkeypatch, tmp_path, **values)
    given = sampled(seed)
    scores = given.scores.tolist()
    returns: dict[tuple[int, int], float] = {}
    for row in range(ROWS):
        first = row - row % group
        own = sum(scores[first : first + group]) / group if group > 1 else 0.0
        costs = penalties(given, row)
        for place in costs:
            later = sum(cost for other, cost in costs.items() if other >= place)
            returns[row, place] = scores[row] - own - 0.3 * later
    mean = sum(returns.values()) / len(returns)
    deviation = math.sqrt(sum((r - mean) ** 2 for r in returns.values()) / len(returns))
    found = method.advantages(given)
    for place, value in returns.items():
        assert float(found[place]) == pytest.approx((value - mean) / deviation, abs=1e-5)
    assert (found[~given.batch.target_mask] == 0).all()
    assert method.aggregation == "token"


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_rloo_is_the_response_less_the_others(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ahmadian et al. 2024, arXiv:2402.14740, eq. 6; the sum over tokens, not their mean."""
    method = method_of("rloo", monkeypatch, tmp_path, beta=0.3, num_generations=GROUP)
    given = sampled(seed)
    paid = [
        float(given.scores[row]) - 0.3 * sum(penalties(given, row).values()) for row in range(ROWS)
    ]
    found = method.advantages(given)
    for row in range(ROWS):
        first = row - row % GROUP
        others = [paid[other] for other in range(first, first + GROUP) if other != row]
        expected = LENGTH * (paid[row] - sum(others) / len(others))
        assert found[row].tolist() == pytest.approx([expected] * LENGTH, abs=1e-4)
    assert method.aggregation == "constant"
