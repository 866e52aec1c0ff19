"""Reward models beyond pairs: rankings, attributes, ensembles, length, calibration."""

import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from accord.core.device import default_device
from accord.core.errors import ConfigError, DataError
from accord.core.files import write_jsonl
from accord.core.run_dir import RunDir
from accord.corpora.encoding import ChatEncoder
from accord.corpora.pairs import load_comparisons
from accord.models.heads import init_reward_model, score_head
from accord.models.loading import load_tokenizer
from accord.models.score_heads import ScoreHeads
from accord.rewards.learned import LearnedReward
from accord.stages.reward_modeling import run as reward
from accord.stages.reward_modeling.config import Config
from accord.stages.reward_modeling.encoded import Pairs, head_layout
from accord.stages.reward_modeling.figures import accuracy_by_length, calibration
from accord.stages.reward_modeling.fit import all_readings, measure
from accord.training.pair_batches import pair_batch

CPU = torch.device("cpu")


def config(model: Path, data: Path, **values: Any) -> Config:
    defaults = {
        "model_name_or_path": str(model), "comparisons": [str(data)], "learning_rate": 5e-3,
        "per_device_train_batch_size": 16, "max_steps": 30, "eval_steps": 10, "eval_fraction": 0.2,
    }  # fmt: skip
    return Config.parse({**defaults, **values}, where="test")


def run(model: Path, data: Path, out: Path, **values: Any) -> reward.Result:
    return reward.run(config(model, data, **values), RunDir(out))


def scored(model: Path, responses: list[str], prompt: str = "user asks 5") -> Any:
    none: list[list[int]] = [[] for _ in responses]
    prompts: Any = [[{"role": "user", "content": prompt}] for _ in responses]
    loaded = LearnedReward(model, device=CPU, max_length=128)
    rows: Any = [{}] * len(responses)
    return loaded.score(prompts, responses, prompt_ids=none, response_ids=none, columns=rows)


@pytest.fixture
def encoder(tiny_model_dir: Path) -> ChatEncoder:
    return ChatEncoder(load_tokenizer(str(tiny_model_dir)))


# Rankings ----------------------------------------------------------------------------------------

WORDS = ["know", "find", "said", "no"]  # from the best


@pytest.fixture
def ranked(tmp_path: Path) -> Path:
    path = tmp_path / "ranked.jsonl"
    order = random.Random(0)
    rows = []
    for i in range(60):
        places = order.sample(range(4), 4)
        answers = [f"user {i} {WORDS[place]}" for place in places]
        rows.append(
            {"prompt": f"asks {i}", "completions": answers, "ranks": [p + 1 for p in places]}
        )
    write_jsonl(path, rows)
    return path


def test_a_ranking_is_learned_as_a_whole(
    tiny_model_dir: Path, ranked: Path, tmp_path: Path
) -> None:
    result = run(tiny_model_dir, ranked, tmp_path / "out", per_device_train_batch_size=8)
    assert result.heldout_accuracy > 0.95
    assert (result.pairs + result.heldout_pairs) == 60 * 6
    values = scored(result.model, [f"user 5 {word}" for word in WORDS]).values
    assert values == sorted(values, reverse=True)


def test_all_pairs_of_a_ranking_are_in_one_batch_and_weigh_one(
    tiny_model_dir: Path, ranked: Path, tmp_path: Path, encoder: ChatEncoder
) -> None:
    chosen = config(tiny_model_dir, ranked)
    pairs = Pairs.encode(load_comparisons([str(ranked)])[:12], encoder, chosen)
    assert pairs.units == [list(range(6)), list(range(6, 12))]
    assert pairs.weight.tolist() == pytest.approx([1 / 6] * 12)
    # Four responses, not twelve, are read.
    assert pair_batch(pairs.encoded, range(6), encoder).tokens.input_ids.shape[0] == 4
    model = init_reward_model(str(tiny_model_dir), device=default_device(), seed=0)
    once = all_readings(model, pairs, encoder, chosen)
    alone = torch.cat(
        [all_readings(model, pairs, encoder, chosen, rows=[i]) for i in range(12)], dim=1
    )
    torch.testing.assert_close(once, alone, atol=1e-5, rtol=0)
    differences = (once[0] - once[1]).flatten().tolist()
    nats = [math.log1p(math.exp(-d)) for d in differences]
    found = measure(model, pairs, range(12), encoder, chosen, learn=None)
    assert found["loss"] == pytest.approx(sum(nats) / 12, abs=1e-5)
    steps = run(tiny_model_dir, ranked, tmp_path / "out", max_steps=-1, num_train_epochs=1).steps
    assert steps in (2, 3, 4)  # of about 48 rankings, not of 288 pairs


# Attributes --------------------------------------------------------------------------------------


def attribute_rows() -> list[Any]:
    """ "know" is helpful, "said" is harmless: the two attributes disagree on each pair."""
    rows = []
    for i in range(60):
        good, bad = f"user {i} know", f"user {i} said"
        base = {"prompt": f"asks {i}"}
        rows.append({**base, "chosen": good, "rejected": bad, "attribute": "helpful"})
        rows.append({**base, "chosen": bad, "rejected": good, "attribute": "harmless"})
    return rows


def test_every_attribute_has_its_head(tiny_model_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write_jsonl(path, attribute_rows())
    fields: dict[str, Any] = {
        "attributes": ["helpful", "harmless"], "attribute_weights": [1.0, 3.0], "max_steps": 60,
    }  # fmt: skip
    result = run(tiny_model_dir, path, tmp_path / "out", **fields)
    assert result.accuracy_by_attribute == {"helpful": 1.0, "harmless": 1.0}
    assert result.heldout_accuracy == 1.0
    found = scored(result.model, ["user 5 know", "user 5 said"])
    assert found.parts["helpful"][0] > found.parts["helpful"][1] + 1
    assert found.parts["harmless"][0] < found.parts["harmless"][1] - 1
    assert found.values[0] < found.values[1]  # harmless weighs three times as much
    model = AutoModelForSequenceClassification.from_pretrained(result.model)
    assert model.config.num_labels == 1 and model.score.weight.shape[0] == 1


def test_rows_without_an_attribute_train_the_sum(tiny_model_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [{k: v for k, v in row.items() if k != "attribute"} for row in attribute_rows()[::2]]
    write_jsonl(path, rows)
    result = run(tiny_model_dir, path, tmp_path / "out", attributes=["helpful", "harmless"])
    found = scored(result.model, ["user 5 know", "user 5 said"])
    assert found.values[0] > found.values[1] + 1
    for one, two, value in zip(*found.parts.values(), found.values, strict=True):
        assert value == pytest.approx(one + two, abs=1e-4)


def test_attributes_that_mean_nothing_are_refused(tiny_model_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write_jsonl(path, attribute_rows())
    with pytest.raises(DataError, match="no attribute 'harmless'; known: helpful"):
        run(tiny_model_dir, path, tmp_path / "out", attributes=["helpful"])
    for fields in ({"attribute_weights": [1.0]}, {"attributes": ["a", "a"]}):
        with pytest.raises(ConfigError, match="give one each|named twice"):
            config(tiny_model_dir, path, **fields)


# Ensembles ---------------------------------------------------------------------------------------


def test_members_disagree_most_where_nothing_was_judged(
    tiny_model_dir: Path, tmp_path: Path
) -> None:
    path = tmp_path / "rows.jsonl"
    write_jsonl(path, attribute_rows()[::2])
    result = run(tiny_model_dir, path, tmp_path / "out", members=5)
    assert result.heldout_accuracy > 0.95 and result.spread > 0
    known = scored(result.model, [f"user {i} know" for i in range(5)])
    strange = scored(
        result.model, ["The capital of the country is 12", "system 77", "? ? ?"], prompt="7 and 19"
    )
    assert known.spread and strange.spread
    assert max(known.spread) < min(strange.spread)
    heads = ScoreHeads.load(result.model, device=CPU)
    assert heads and len(heads.means) == len(heads.stds) == 5


def test_members_see_resampled_rankings(
    tiny_model_dir: Path, ranked: Path, encoder: ChatEncoder
) -> None:
    chosen = config(tiny_model_dir, ranked, members=4)
    pairs = Pairs.encode(load_comparisons([str(ranked)]), encoder, chosen)
    by_ranking = pairs.resampled.view(60, 6, 4)
    assert torch.equal(by_ranking, by_ranking[:, :1].expand(60, 6, 4))  # a ranking stays whole
    assert 0.7 < float(pairs.resampled.mean()) < 1.3
    assert len({tuple(column) for column in pairs.resampled.T.tolist()}) == 4


# Length ------------------------------------------------------------------------------------------


def long_wins() -> list[Any]:
    """The word decides; the better answer is also the longer one, three times of four."""
    rows = []
    for i in range(120):
        long, short = ("know", "said") if i % 4 else ("said", "know")
        filled, bare = f"user {long}{' and the' * 6}", f"user {short}"
        sides = (filled, bare) if long == "know" else (bare, filled)
        rows.append({"prompt": f"asks {i}", "chosen": sides[0], "rejected": sides[1]})
    return rows


def test_length_is_taken_out_of_the_score(tiny_model_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write_jsonl(path, long_wins())
    fields: dict[str, Any] = {"max_steps": 60, "learning_rate": 2e-3}
    plain = run(tiny_model_dir, path, tmp_path / "plain", **fields)
    free = run(tiny_model_dir, path, tmp_path / "free", disentangle_length=True, **fields)
    assert plain.length_correlation > 0.2
    assert abs(free.length_correlation) < 0.5 * plain.length_correlation
    assert free.heldout_accuracy > 0.9
    logged = RunDir(tmp_path / "free").metrics()[-1]
    assert logged["length/head_correlation"] > 0.9


def test_a_batch_in_pieces_has_the_gradients_of_the_whole(
    tiny_model_dir: Path, tmp_path: Path, encoder: ChatEncoder
) -> None:
    path = tmp_path / "rows.jsonl"
    write_jsonl(path, long_wins()[:24])
    gradients = []
    for budget in (8192, 120):
        chosen = config(
            tiny_model_dir, path, disentangle_length=True, members=2, tokens_per_micro_batch=budget
        )
        outputs = head_layout(chosen).rows
        model = init_reward_model(str(tiny_model_dir), device=CPU, seed=0, outputs=outputs)
        pairs = Pairs.encode(load_comparisons([str(path)]), encoder, chosen)
        measure(model, pairs, range(24), encoder, chosen, learn=torch.Tensor.backward)
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
        assert score_head(model).weight.grad is not None
    for one, many in zip(*gradients, strict=True):
        torch.testing.assert_close(one, many, atol=1e-5, rtol=1e-3)


# Figures -----------------------------------------------------------------------------------------


def test_calibration_of_a_sure_and_wrong_model() -> None:
    """Margins of 4 (98% sure) that are right three times of four."""
    margins, labels = np.array([4.0, 4.0, -4.0, -4.0]), np.array([1.0, 1.0, 0.0, 1.0])
    found = calibration(margins, labels, fitted_on=(margins, labels))
    sure = 1 / (1 + math.exp(-4))
    assert found["error"] == pytest.approx(sure - 0.75)
    assert found["error_with_temperature"] == pytest.approx(0, abs=1e-4)
    assert found["temperature"] == pytest.approx(4 / math.log(3), rel=1e-3)
    assert found["curve"][0]["pairs"] == 4
    json.dumps(found)


def test_accuracy_by_length_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    texts = [("aaaa", "b"), ("a", "bbbb"), ("aa", "bb"), ("a", "cc")]
    write_jsonl(path, [{"prompt": "q", "chosen": a, "rejected": b} for a, b in texts])
    found = accuracy_by_length(np.array([1.0, -1.0, 1.0, 1.0]), load_comparisons([str(path)]))
    assert [(part["low"], part["pairs"], part["accuracy"]) for part in found] == [
        (0.0, 1, 0.0), (0.5, 1, 1.0), (0.8, 1, 1.0), (2.0, 1, 1.0),
    ]  # fmt: skip


def test_centering_brings_the_scores_to_zero(tiny_model_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write_jsonl(path, attribute_rows()[::2])
    fields: dict[str, Any] = {"max_steps": 60}
    free = run(tiny_model_dir, path, tmp_path / "free", **fields)
    centred = run(
        tiny_model_dir, path, tmp_path / "centred", center_rewards_coefficient=0.1, **fields
    )
    assert abs(centred.score_mean) < 0.1
    assert abs(centred.score_mean) < abs(free.score_mean)
    assert centred.heldout_accuracy > 0.95
