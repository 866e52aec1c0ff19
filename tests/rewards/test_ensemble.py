"""Ensembles: the three aggregations by hand, members made comparable, and what disagrees."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from accord.core.errors import ConfigError
from accord.core.reward_config import RewardConfig
from accord.corpora.encoding import ChatEncoder, Encoded
from accord.models.heads import init_reward_model, save_scored_model
from accord.models.loading import load_tokenizer
from accord.models.score_heads import Layout, folded
from accord.rewards.ensemble import EnsembleReward, aggregated
from accord.rewards.learned import LearnedReward
from accord.rewards.mixed import load_reward
from accord.training.batches import collate

CPU = torch.device("cpu")
RESPONSES = ["user 1 know", "no", "find the answer and the capital"]


@pytest.mark.parametrize(
    ("aggregation", "expected"),
    [("mean", [2.0, 4.0]), ("worst", [1.0, 4.0]), ("uncertainty", [2.0 - 0.5 * 2 / 3, 4.0])],
)
def test_aggregations_by_hand(aggregation: Any, expected: list[float]) -> None:
    """Members 1, 2, 3 have the population's variance 2/3; equal members have none."""
    members = torch.tensor([[1.0, 2.0, 3.0], [4.0, 4.0, 4.0]])
    found = aggregated(members, aggregation, coefficient=0.5)
    assert found.tolist() == pytest.approx(expected)


def save(
    base: Path,
    path: Path,
    layout: Layout,
    *,
    seed: int = 0,
    means: tuple[float, ...] = (),
    stds: tuple[float, ...] = (),
) -> Path:
    """A reward model of several random heads, as the stage saves it."""
    tokenizer = load_tokenizer(str(base))
    model = init_reward_model(str(base), device=CPU, seed=seed, outputs=layout.rows)
    plain, heads = folded(model, layout)
    count = layout.members
    heads = dataclasses.replace(heads, means=means or (0.0,) * count, stds=stds or (1.0,) * count)
    encoder = ChatEncoder(tokenizer)
    prompt = encoder.encode_prompt([{"role": "user", "content": "q"}])
    sample = collate(
        [Encoded(prompt, encoder.encode_response("know"))], pad_id=encoder.pad_id, device=CPU
    )
    save_scored_model(plain, tokenizer, path, sample=sample, beside=heads.save)
    return path


def score(reward: Any) -> Any:
    none: list[list[int]] = [[] for _ in RESPONSES]
    rows: list[dict[str, Any]] = [{} for _ in RESPONSES]
    prompts = [[{"role": "user", "content": "q"}] for _ in RESPONSES]
    return reward.score(prompts, RESPONSES, prompt_ids=none, response_ids=none, columns=rows)


def load(path: Path) -> LearnedReward:
    return LearnedReward(path, device=CPU, max_length=64)


def test_members_of_one_trunk_are_told_apart(tiny_model_dir: Path, tmp_path: Path) -> None:
    path = save(tiny_model_dir, tmp_path / "m", Layout(members=3))
    reward = load(path)
    found = score(reward)
    none: list[list[int]] = [[] for _ in RESPONSES]
    prompts: Any = [[{"role": "user", "content": "q"}] for _ in RESPONSES]
    members = reward.read(prompts, RESPONSES, prompt_ids=none, response_ids=none).members
    assert members.shape == (3, 3)
    assert found.values == pytest.approx(members.mean(1).tolist(), abs=1e-5)
    assert found.spread == pytest.approx(members.std(1, correction=0).tolist(), abs=1e-5)
    assert min(found.spread) > 0.01
    # What others load is the same score.
    (path / "score_heads/heads.safetensors").unlink()
    plain = score(load(path))
    assert plain.values == pytest.approx(found.values, abs=1e-5)
    assert plain.spread is None


def test_attributes_are_parts_of_the_score(tiny_model_dir: Path, tmp_path: Path) -> None:
    layout = Layout(("helpful", "harmless"), (1.0, 0.25), members=2, has_length=True)
    found = score(load(save(tiny_model_dir, tmp_path / "m", layout)))
    parts = found.parts
    assert set(parts) == {"helpful", "harmless"}
    expected = [a + 0.25 * b for a, b in zip(parts["helpful"], parts["harmless"], strict=True)]
    assert found.values == pytest.approx(expected, abs=1e-5)


def test_separate_models_are_made_comparable(tiny_model_dir: Path, tmp_path: Path) -> None:
    """The same head with its scores doubled and moved by 7 is the same judge."""
    one = save(tiny_model_dir, tmp_path / "one", Layout(), means=(0.5,), stds=(1.0,))
    two = load(one)
    other = load(one)
    assert other.heads is not None
    other.heads = dataclasses.replace(
        other.heads,
        weight=2 * other.heads.weight,
        bias=other.heads.bias + 7,
        means=(2 * 0.5 + 7,),
        stds=(2.0,),
    )
    together = EnsembleReward([two, other], "worst", coefficient=0.0)
    found = score(together)
    assert found.spread == pytest.approx([0.0] * 3, abs=1e-5)
    alone = [1.5 * (value - 0.5) for value in score(two).values]
    assert found.values == pytest.approx(alone, abs=1e-5)


def test_config_fields_become_an_ensemble(tiny_model_dir: Path, tmp_path: Path) -> None:
    paths = [
        save(tiny_model_dir, tmp_path / n, Layout(members=2), seed=i) for i, n in enumerate("ab")
    ]
    encoder = ChatEncoder(load_tokenizer(str(tiny_model_dir)))

    def loaded(**values: Any) -> Any:
        config = RewardConfig.parse(values, where="test")
        return load_reward(config, device=CPU, max_length=64, policy_encoder=encoder)

    names = [str(path) for path in paths]
    ways = [
        score(
            loaded(reward_model_name_or_path=names, reward_ensemble=way, reward_uncertainty_coef=1)
        )
        for way in ("mean", "worst", "uncertainty")
    ]
    mean, worst, unsure = (found.values for found in ways)
    spread = ways[0].spread
    assert all(w < m for w, m in zip(worst, mean, strict=True))
    expected = [m - s**2 for m, s in zip(mean, spread, strict=True)]
    assert unsure == pytest.approx(expected, abs=1e-6)
    with pytest.raises(ConfigError, match="reward_ensemble needs reward_model"):
        loaded(reward_funcs=["math.fsum"], reward_ensemble="mean")
