"""The reward model: what it learns, that it resumes, its rankers by hand, its folds, bad input."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from transformers import AutoModelForSequenceClassification

from accord.core.device import default_device
from accord.core.errors import CheckpointError, ConfigError, DataError
from accord.core.files import write_jsonl
from accord.core.run_dir import RunDir
from accord.core.types import Comparison, Message
from accord.corpora.encoding import ChatEncoder
from accord.corpora.pairs import load_comparisons
from accord.models.heads import init_reward_model, load_reward_model
from accord.models.loading import load_tokenizer
from accord.stages.reward_modeling import cross_validation
from accord.stages.reward_modeling import run as reward
from accord.stages.reward_modeling.baselines import (
    accuracy,
    longer_wins,
    ranked_right,
    tfidf_margins,
)
from accord.stages.reward_modeling.config import Config
from accord.stages.reward_modeling.encoded import Pairs
from accord.stages.reward_modeling.fit import all_readings, heldout_figures
from accord.stages.reward_modeling.probe import fit_head, ridge_weights


class Killed(Exception):
    """Stands in for a kill: nothing after it runs."""


def config(model: Path, data: Path, **values: Any) -> Config:
    defaults = {
        "model_name_or_path": str(model), "comparisons": [str(data)], "learning_rate": 5e-3,
        "per_device_train_batch_size": 16, "max_steps": 30, "eval_steps": 10, "eval_fraction": 0.2,
    }  # fmt: skip
    return Config.parse({**defaults, **values}, where="test")


def run(model: Path, data: Path, out: Path, **values: Any) -> reward.Result:
    return reward.run(config(model, data, **values), RunDir(out))


def rows(good: str = "know", bad: str = "said", prompts: range = range(10, 90)) -> list[Any]:
    """Answers that end with the word `good` are the better."""
    return [
        {"prompt": f"user asks {i}", "chosen": f"user {i} {good}", "rejected": f"user {i} {bad}"}
        for i in prompts
    ]


def all_scores(
    model: torch.nn.Module, pairs: Pairs, encoder: ChatEncoder, chosen: Config
) -> torch.Tensor:
    return all_readings(model, pairs, encoder, chosen)[..., 0]


def comparison(
    chosen: str, rejected: str, p_chosen: float = 1.0, *, prompt: str = "q", margin: float = 0.0
) -> Comparison:
    return Comparison((Message(role="user", content=prompt),), chosen, rejected, p_chosen, margin)


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.jsonl"
    write_jsonl(path, rows())
    return path


@pytest.fixture
def encoder(tiny_model_dir: Path) -> ChatEncoder:
    return ChatEncoder(load_tokenizer(str(tiny_model_dir)))


# What it learns ----------------------------------------------------------------------------------


@pytest.mark.parametrize("use_peft", [False, True])
def test_it_learns_a_rule_and_transformers_reads_it(
    tiny_model_dir: Path, pairs: Path, tmp_path: Path, encoder: ChatEncoder, use_peft: bool
) -> None:
    lora = {"use_peft": True, "lora_r": 4, "learning_rate": 1e-2} if use_peft else {}
    result = run(tiny_model_dir, pairs, tmp_path / "out", **lora)
    assert result.heldout_accuracy > 0.95
    assert result.tfidf_accuracy > 0.95
    assert result.longer_wins_accuracy == 0.5
    assert result.pairs + result.heldout_pairs == 80
    assert not (result.model / "adapter_config.json").exists()
    model = AutoModelForSequenceClassification.from_pretrained(result.model)
    assert model.config.num_labels == 1
    prompt = encoder.encode_prompt([{"role": "user", "content": "user asks 5"}])
    scores = []
    for text in ("user 5 know", "user 5 said"):
        ids = torch.tensor([prompt + encoder.encode_response(text)])
        with torch.no_grad():
            scores.append(model(input_ids=ids).logits.item())
    assert scores[0] > scores[1] + 1.0


@pytest.mark.parametrize("p_chosen", [0.8, 0.3])
def test_the_difference_tends_to_the_logit_of_the_label(
    tiny_model_dir: Path, tmp_path: Path, p_chosen: float
) -> None:
    """With one repeated pair, the loss is lowest where sigmoid(difference) is the label."""
    path = tmp_path / "soft.jsonl"
    pair = {"prompt": "user asks", "chosen": "assistant", "rejected": "no", "p_chosen": p_chosen}
    write_jsonl(path, [pair] * 16)
    result = run(
        tiny_model_dir, path, tmp_path / "out", eval_comparisons=str(path), max_steps=60,
        warmup_steps=1,
    )  # fmt: skip
    last = RunDir(tmp_path / "out").metrics()[-1]
    logit = math.log(p_chosen / (1 - p_chosen))
    assert last["validation/reward/margin"] == pytest.approx(logit, abs=0.1)
    entropy = -p_chosen * math.log(p_chosen) - (1 - p_chosen) * math.log(1 - p_chosen)
    assert result.heldout_loss == pytest.approx(entropy, abs=0.01)
    assert result.heldout_accuracy == 1.0


def test_figures_are_means_over_all_pairs_by_hand(
    tiny_model_dir: Path, pairs: Path, encoder: ChatEncoder
) -> None:
    """Soft labels, a margin and a label without a side, from the scores themselves."""
    chosen = config(tiny_model_dir, pairs, tokens_per_micro_batch=100)
    model = init_reward_model(str(tiny_model_dir), device=default_device(), seed=0)
    given = [
        comparison("know", "said"),
        comparison("user asks and", "no", 0.3),
        comparison("find", "answer the", 0.5),
        comparison("12", "7 are 19", margin=2.0),
    ]
    encoded = Pairs.encode(given, encoder, chosen)
    scores = all_scores(model, encoded, encoder, chosen)
    differences = (scores[0] - scores[1]).tolist()

    def nats(z: float) -> float:
        return math.log1p(math.exp(-z))

    losses = [
        p.p_chosen * nats(d - p.margin) + (1 - p.p_chosen) * nats(-d + p.margin)
        for p, d in zip(given, differences, strict=True)
    ]
    right = [differences[0] > 0, differences[1] < 0, differences[3] > 0]
    found = heldout_figures(model, encoded, encoder, chosen)
    assert found["loss"] == pytest.approx(sum(losses) / 4, abs=1e-5)
    assert found["reward/margin"] == pytest.approx(sum(differences) / 4, abs=1e-5)
    assert found["reward/accuracy"] == pytest.approx(sum(right) / 3)


def test_the_best_weights_are_saved(
    tiny_model_dir: Path, pairs: Path, tmp_path: Path, encoder: ChatEncoder
) -> None:
    """Held-out pairs follow the opposite rule: what is learned makes them worse."""
    opposite = tmp_path / "opposite.jsonl"
    write_jsonl(opposite, rows(good="said", bad="know"))
    values = {"eval_comparisons": str(opposite), "eval_steps": 5}
    result = run(tiny_model_dir, pairs, tmp_path / "out", **values)
    logged = RunDir(tmp_path / "out").metrics()
    losses = [row["validation/loss"] for row in logged if "validation/loss" in row]
    assert min(losses) == losses[0] < losses[-1] - 1
    assert result.heldout_loss == pytest.approx(losses[0], abs=1e-5)
    assert result.measured_on == "validation"
    saved = load_reward_model(str(result.model), device=default_device())
    chosen = config(tiny_model_dir, pairs, **values)
    held_out = Pairs.encode(load_comparisons([str(opposite)]), encoder, chosen)
    found = heldout_figures(saved, held_out, encoder, chosen)
    assert found["loss"] == pytest.approx(result.heldout_loss, abs=1e-5)
    assert found["reward/accuracy"] == pytest.approx(result.heldout_accuracy)


def test_test_pairs_choose_nothing(tiny_model_dir: Path, pairs: Path, tmp_path: Path) -> None:
    """Test pairs of the opposite rule are ranked wrongly, and the weights do not mind."""
    opposite = tmp_path / "opposite.jsonl"
    write_jsonl(opposite, rows(good="said", bad="know", prompts=range(90, 120)))
    values = {"max_steps": 15, "eval_steps": 5}
    without = run(tiny_model_dir, pairs, tmp_path / "without", **values)
    tested = run(
        tiny_model_dir, pairs, tmp_path / "tested", test_comparisons=str(opposite), **values
    )
    weights = [(r.model / "model.safetensors").read_bytes() for r in (without, tested)]
    assert weights[0] == weights[1]
    assert (tested.measured_on, tested.heldout_pairs) == ("test", 30)
    assert tested.pairs == without.pairs < 80
    assert tested.heldout_accuracy < 0.05 and without.heldout_accuracy > 0.95
    assert tested.tfidf_accuracy < 0.05


def test_scores_are_described_for_whoever_normalises(
    tiny_model_dir: Path, pairs: Path, tmp_path: Path, encoder: ChatEncoder
) -> None:
    result = run(tiny_model_dir, pairs, tmp_path / "out", eval_comparisons=str(pairs), max_steps=2)
    saved = load_reward_model(str(result.model), device=default_device())
    chosen = config(tiny_model_dir, pairs)
    scores = all_scores(
        saved, Pairs.encode(load_comparisons([str(pairs)]), encoder, chosen), encoder, chosen
    )
    assert result.score_mean == pytest.approx(float(scores.mean()), abs=1e-5)
    assert result.score_std == pytest.approx(float(scores.std()), abs=1e-5)


def test_accuracy_by_which_side_is_longer(
    tiny_model_dir: Path, pairs: Path, tmp_path: Path
) -> None:
    """Held-out pairs follow the rule where chosen is the shorter, the opposite where longer."""
    path = tmp_path / "lengths.jsonl"
    short = [{**row, "rejected": f"I can {row['rejected']}"} for row in rows()[:30]]
    long = [{**row, "chosen": f"I can {row['chosen']}"} for row in rows("said", "know")[:50]]
    write_jsonl(path, short + long)
    result = run(tiny_model_dir, pairs, tmp_path / "out", test_comparisons=str(path))
    assert result.accuracy_where_chosen_is_shorter > 0.9
    assert result.accuracy_where_chosen_is_longer < 0.1
    assert result.longer_wins_accuracy == 50 / 80


# The head's start --------------------------------------------------------------------------------


def test_ridge_weights_by_hand() -> None:
    """One feature, d = 1 and p = 1: the slope sigmoid(-w) = ridge * w, at w = 1 for 0.2689."""
    ridge = 1 / (1 + math.e)
    found = ridge_weights(torch.ones(3, 1), torch.ones(3), torch.zeros(3), ridge=ridge)
    assert found.item() == pytest.approx(1.0, abs=1e-4)
    flipped = ridge_weights(-torch.ones(3, 1), torch.zeros(3), torch.zeros(3), ridge=ridge)
    assert flipped.item() == pytest.approx(1.0, abs=1e-4)


def test_ridge_weights_are_those_of_scikit_learn() -> None:
    """Hard labels: its penalty is |w|^2 / 2 beside C times the sum, so C = 1 / (ridge N)."""
    generator = torch.Generator().manual_seed(0)
    d = torch.randn(60, 5, generator=generator)
    found = ridge_weights(d, torch.ones(60), torch.zeros(60), ridge=0.1)
    oracle = LogisticRegression(C=1 / (0.1 * 120), fit_intercept=False, tol=1e-8)
    oracle.fit(torch.cat([d, -d]).numpy(), [1] * 60 + [0] * 60)
    assert found.tolist() == pytest.approx(oracle.coef_[0].tolist(), abs=1e-4)


def test_the_probe_moves_the_head_alone_and_is_where_training_starts(
    tiny_model_dir: Path, pairs: Path, tmp_path: Path, encoder: ChatEncoder
) -> None:
    chosen = config(tiny_model_dir, pairs, tokens_per_micro_batch=300)
    model = init_reward_model(str(tiny_model_dir), device=default_device(), seed=0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    encoded = Pairs.encode(load_comparisons([str(pairs)]), encoder, chosen)
    fit_head(model, encoded, encoder, chosen, ridge=0.01)
    moved = [n for n, v in model.state_dict().items() if not torch.equal(v, before[n])]
    assert moved == ["score.weight"]
    scores = all_scores(model, encoded, encoder, chosen)
    assert float((scores[0] > scores[1]).float().mean()) > 0.95
    whole = model.state_dict()["score.weight"].clone()
    larger = config(tiny_model_dir, pairs)  # in one piece
    fit_head(model, encoded, encoder, larger, ridge=0.01)
    assert torch.allclose(model.state_dict()["score.weight"], whole, atol=1e-3, rtol=1e-3)

    run(tiny_model_dir, pairs, tmp_path / "out", head_ridge=0.01, max_steps=1)
    start = RunDir(tmp_path / "out").metrics()[0]
    assert start["step"] == 0 and start["validation/reward/accuracy"] > 0.95


# Numerics ----------------------------------------------------------------------------------------


def test_resumed_is_unbroken_bit_for_bit(
    tiny_model_dir: Path, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken off twice: in the second fold, and in the training of the model that is kept. Its
    best moment, the first, is one that only the checkpoint knows of.
    """
    opposite = tmp_path / "opposite.jsonl"
    write_jsonl(opposite, rows(good="said", bad="know"))
    values = {
        "max_steps": 6, "eval_steps": 2, "save_steps": 2, "folds": 2,
        "eval_comparisons": str(opposite),
    }  # fmt: skip
    unbroken = run(tiny_model_dir, pairs, tmp_path / "unbroken", **values)
    log = RunDir.log
    for place in ("broken/fold-1", "broken"):

        def killed(self: RunDir, step: int, metrics: dict[str, float], place: str = place) -> None:
            log(self, step, metrics)
            if self.path == tmp_path / place and step == 5:
                raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(RunDir, "log", killed)
            with pytest.raises(Killed):
                run(tiny_model_dir, pairs, tmp_path / "broken", **values)
    torch.manual_seed(4321)
    resumed = run(tiny_model_dir, pairs, tmp_path / "broken", **values)
    for part in ("", "fold-0", "fold-1"):
        broken, whole = (RunDir(tmp_path / n / part).metrics() for n in ("broken", "unbroken"))
        assert broken == whole
    weights = [(r.model / "model.safetensors").read_bytes() for r in (unbroken, resumed)]
    assert weights[0] == weights[1]
    assert resumed.heldout_loss == unbroken.heldout_loss
    logged = min(
        row["validation/loss"]
        for row in RunDir(tmp_path / "unbroken").metrics()
        if "validation/loss" in row
    )
    assert unbroken.heldout_loss == pytest.approx(logged, abs=1e-6)
    assert resumed.cross_validation == unbroken.cross_validation


def test_memory_is_no_matter_of_results(tiny_model_dir: Path, pairs: Path, tmp_path: Path) -> None:
    for name, budget in (("one", 8192), ("many", 100)):
        run(
            tiny_model_dir, pairs, tmp_path / name, max_steps=3, eval_steps=3,
            tokens_per_micro_batch=budget,
        )  # fmt: skip
    for one, many in zip(*(RunDir(tmp_path / n).metrics() for n in ("one", "many")), strict=True):
        assert one == pytest.approx(many, rel=1e-3, abs=1e-4)


def test_padded_is_alone(tiny_model_dir: Path, pairs: Path, encoder: ChatEncoder) -> None:
    model = init_reward_model(str(tiny_model_dir), device=default_device(), seed=0)
    given = [comparison("know " * i, "said " * (9 - i), prompt="q" * i) for i in range(1, 9)]
    together, alone = (config(tiny_model_dir, pairs, tokens_per_micro_batch=n) for n in (8192, 1))
    encoded = Pairs.encode(given, encoder, together)
    padded = all_scores(model, encoded, encoder, together)
    torch.testing.assert_close(
        padded, all_scores(model, encoded, encoder, alone), atol=1e-5, rtol=0
    )


# Bad input ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "q", "chosen": "", "rejected": "b"}, "row 31: the response is empty"),
        ({"prompt": "q", "chosen": "a", "rejected": "a"}, "row 31: .*identical"),
        ({"prompt": "q", "answer": "a"}, "row 31: no column 'chosen'"),
        ({"prompt": "q", "chosen": "a", "rejected": "b", "p_chosen": 2}, "row 31: p_chosen must"),
        ({"prompt": "q", "chosen": "a " * 90, "rejected": "b"}, "row 31: .*.*does not fit"),
    ],
)
def test_bad_rows_are_refused(
    tiny_model_dir: Path, tmp_path: Path, row: dict[str, Any], message: str
) -> None:
    path = tmp_path / "bad.jsonl"
    write_jsonl(path, [*rows(prompts=range(30)), row])
    with pytest.raises(DataError, match=message):
        run(tiny_model_dir, path, tmp_path / "out", max_length=60)
    assert not (tmp_path / "out/metrics.jsonl").exists()


def test_bad_sources_are_refused(tiny_model_dir: Path, pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        run(tiny_model_dir, tmp_path / "none.jsonl", tmp_path / "out")
    with pytest.raises(DataError, match="no such file"):
        run(tiny_model_dir, pairs, tmp_path / "out", eval_comparisons=str(tmp_path / "no.jsonl"))
    with pytest.raises(ConfigError, match="did you mean 'comparisons'"):
        config(tiny_model_dir, pairs, comparison=[str(pairs)])
    write_jsonl(pairs, rows()[:1])
    with pytest.raises(DataError, match="no comparisons on one side of the split"):
        run(tiny_model_dir, pairs, tmp_path / "out")


def test_long_prompts_are_cut_and_counted(tiny_model_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    write_jsonl(path, [{**row, "prompt": f"{row['prompt']} " * 50} for row in rows()[:30]])
    assert run(tiny_model_dir, path, tmp_path / "out", max_length=40, max_steps=1).cut_rows == 30


def test_prompts_are_cut_to_the_context_of_the_model(
    tiny_model_dir: Path, tmp_path: Path, pairs: Path
) -> None:
    """`max_length` is above what the model can read."""
    small = tmp_path / "small"
    small.mkdir()
    for file in tiny_model_dir.iterdir():
        (small / file.name).write_bytes(file.read_bytes())
    values = json.loads((small / "config.json").read_text())
    (small / "config.json").write_text(json.dumps({**values, "max_position_embeddings": 32}))
    write_jsonl(pairs, [{**row, "prompt": f"{row['prompt']} " * 20} for row in rows()[:30]])
    assert run(small, pairs, tmp_path / "out", max_length=1000, max_steps=1).cut_rows == 30


def test_a_checkpoint_cut_short_is_refused(
    tiny_model_dir: Path, pairs: Path, tmp_path: Path
) -> None:
    values = {"max_steps": 4, "save_steps": 2}
    run(tiny_model_dir, pairs, tmp_path / "out", **values)
    state = tmp_path / "out/checkpoint-2/state.pt"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="cut short or damaged"):
        run(tiny_model_dir, pairs, tmp_path / "out", **values)


# Rankers -----------------------------------------------------------------------------------------


def test_longer_wins_by_hand() -> None:
    given = [comparison("long one", "short"), comparison("a", "bc"), comparison("ab", "cd")]
    margins = longer_wins(given)
    np.testing.assert_array_equal(margins, [3, -1, 0])
    assert accuracy(ranked_right(margins, given)) == 0.5  # right, wrong, and a tie for a half


def test_ranked_right_by_hand() -> None:
    labels = [1.0, 1.0, 0.2, 0.2, 0.5, 0.9]
    margins = np.array([2.0, -1.0, -3.0, 4.0, 5.0, 0.0])
    given = [comparison("a", "b", p) for p in labels]
    found = ranked_right(margins, given)
    np.testing.assert_array_equal(found, [1, 0, 1, 0, np.nan, 0.5])
    assert accuracy(found) == pytest.approx(2.5 / 5)
    assert math.isnan(accuracy(found[4:5]))


def test_tfidf_learns_a_word() -> None:
    """`sorry` decides; `sunny` and `rainy` stand on either side as often."""
    weather = ["sunny", "rainy"]
    train = [
        comparison(f"sorry {weather[i % 2]} day", f"shout {weather[i // 2 % 2]} day")
        for i in range(20)
    ]
    test = [comparison("sorry rainy", "shout sunny"), comparison("shout sunny", "sorry sunny")]
    margins = tfidf_margins(train, test)
    np.testing.assert_array_equal(np.sign(margins), [1, -1])
    # Words that nobody saw leave nothing to go by.
    assert tfidf_margins(train, [comparison("unheard of", "never seen")]).tolist() == [0.0]


def test_tfidf_reads_soft_labels_as_weights() -> None:
    pair = ("sorry day", "shout day")
    likely, unlikely, even = (
        tfidf_margins([comparison(*pair, p)] * 20, [comparison(*pair)])[0] for p in (0.9, 0.1, 0.5)
    )
    assert likely > 0.5
    assert unlikely == pytest.approx(-likely, rel=1e-3)
    assert even == pytest.approx(0.0, abs=1e-6)


def test_tfidf_without_a_shared_word_knows_nothing() -> None:
    """Each word stands in one response only, or has one character: no vocabulary is left."""
    for texts in (("alpha", "beta"), ("1", "2")):
        assert tfidf_margins([comparison(*texts)], [comparison(*texts)]).tolist() == [0.0]


# Cross-validation --------------------------------------------------------------------------------


@pytest.fixture
def fake_fit(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Pairs, Pairs, Pairs]]:
    """Replaces training in the folds; collects (trained on, chosen on, measured on)."""
    seen: list[tuple[Pairs, Pairs, Pairs]] = []
    sides: list[tuple[Pairs, Pairs]] = []

    def fit(train: Pairs, held_out: Pairs, *_: Any) -> tuple[torch.nn.Module, int]:
        sides.append((train, held_out))
        return torch.nn.Identity(), 0

    def scores(_model: Any, measured: Pairs, *_: Any) -> torch.Tensor:
        seen.append((*sides[-1], measured))
        return torch.stack([measured.p_chosen * 0 + 1, measured.p_chosen * 0])[..., None]

    monkeypatch.setattr(cross_validation, "fit", fit)
    monkeypatch.setattr(cross_validation, "all_readings", scores)
    return seen


def prompts_of(pairs: Pairs) -> set[tuple[int, ...]]:
    return {row.prompt_ids for row in pairs.encoded.chosen}


def validate(
    tiny_model_dir: Path, encoder: ChatEncoder, out: Path
) -> Callable[[Sequence[Comparison]], dict[str, Any]]:
    chosen = config(tiny_model_dir, out, folds=3, max_length=64)
    return lambda given: cross_validation.cross_validate(given, encoder, chosen, RunDir(out))


def test_folds_hold_out_prompts(
    tiny_model_dir: Path, tmp_path: Path, encoder: ChatEncoder, fake_fit: list[Any]
) -> None:
    """Each prompt stands in three pairs, which never part."""
    given = [
        comparison(f"know {j}", "said it", prompt=f"user {i}") for i in range(40) for j in range(3)
    ]
    found = validate(tiny_model_dir, encoder, tmp_path / "out")(given)
    assert len(fake_fit) == found["folds"] == 3
    everything = set().union(*(prompts_of(measured) for _, _, measured in fake_fit))
    assert len(everything) == 40
    assert sum(len(prompts_of(measured)) for _, _, measured in fake_fit) == 40
    for parts in fake_fit:
        assert sum(len(part.p_chosen) for part in parts) == 120
        train, chosen_on, measured = map(prompts_of, parts)
        assert len(train) > len(chosen_on) > 0
        assert not train & chosen_on
        assert not (train | chosen_on) & measured
    assert found["reward_model"] == {"accuracy": 1.0, "by_fold": [1.0] * 3}
    assert found["pairs"] == 120


def test_finished_folds_are_not_redone(
    tiny_model_dir: Path, tmp_path: Path, encoder: ChatEncoder, fake_fit: list[Any]
) -> None:
    """Ties survive the file, which has no NaN."""
    given = [
        comparison("know", "said", 0.5 if i % 4 == 0 else 1.0, prompt=f"user {i}")
        for i in range(40)
    ]
    again = validate(tiny_model_dir, encoder, tmp_path / "out")
    found = again(given)
    assert found["pairs"] == 30
    assert len(fake_fit) == 3
    (tmp_path / "out/fold-1.json").unlink()
    assert again(given) == found
    assert len(fake_fit) == 4
    (tmp_path / "out/fold-2.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"fold-2\.json: not valid JSON"):
        again(given)


def test_a_bad_pair_is_refused_before_a_fold_is_trained(
    tiny_model_dir: Path, tmp_path: Path, encoder: ChatEncoder, fake_fit: list[Any]
) -> None:
    given = [comparison("know", "said", prompt=f"user {i}") for i in range(40)]
    with pytest.raises(DataError, match="does not fit max_length 64"):
        validate(tiny_model_dir, encoder, tmp_path / "out")([*given, comparison("a " * 90, "b")])
    assert not fake_fit


def test_the_paired_difference_by_hand() -> None:
    nan = float("nan")
    given = [comparison("a", "b", prompt=name) for name in "ppqqr"]
    right = {
        "reward_model": np.array([1.0, 1.0, 0.0, 1.0, nan]),
        "tfidf": np.array([0.0, 1.0, 1.0, 0.5, nan]),
        "longer": np.array([0.0, 0.0, 0.0, 0.0, nan]),
    }
    found = cross_validation.summarize(right, [0, 0, 1, 1, 1], given, seed=0)
    assert found["pairs"] == 4
    assert found["reward_model"] == {"accuracy": 0.75, "by_fold": [1.0, 0.5]}
    assert found["tfidf"] == {"accuracy": 0.625, "by_fold": [0.5, 0.75]}
    assert found["longer"] == {"accuracy": 0.0, "by_fold": [0.0, 0.0]}
    difference = found["difference_to_tfidf"]
    assert difference["mean"] == pytest.approx((1 + 0 - 1 + 0.5) / 4)
    assert (difference["only_reward_model_right"], difference["only_tfidf_right"]) == (2, 1)
    # Prompts are resampled whole: p has mean 1/2, q has -1/4, and no other mean is possible.
    assert (difference["low"], difference["high"]) == (-0.25, 0.5)


def test_folds_beside_the_model(tiny_model_dir: Path, pairs: Path, tmp_path: Path) -> None:
    found = run(tiny_model_dir, pairs, tmp_path / "out", folds=2).cross_validation
    assert found is not None
    assert found["pairs"] == 80
    assert found["reward_model"]["accuracy"] > 0.95
    assert found["tfidf"]["accuracy"] > 0.95  # it learns a word, too
    assert found["longer"]["accuracy"] == 0.5
