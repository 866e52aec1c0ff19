"""The training stages learn tasks whose optimum is known."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from accord.core.errors import CheckpointError, DataError
from accord.core.files import write_jsonl
from accord.core.run_dir import RunDir
from accord.corpora.encoding import ChatEncoder
from accord.models.loading import load_tokenizer
from accord.stages.policy_training.dpo import config as dpo_config
from accord.stages.policy_training.dpo import run as dpo
from accord.stages.reward_modeling import config as reward_config
from accord.stages.reward_modeling import run as reward
from accord.stages.sft import config as sft_config
from accord.stages.sft import run as sft


def run_sft(model: Path, data: Path, out: Path, **values: Any) -> sft.Result:
    defaults = {
        "model_name_or_path": str(model), "dataset_name": [str(data)], "learning_rate": 1e-2,
        "per_device_train_batch_size": 16, "max_steps": 60, "eval_steps": 20, "eval_fraction": 0.2,
    }  # fmt: skip
    return sft.run(sft_config.Config.parse({**defaults, **values}, where="test"), RunDir(out))


def run_dpo(model: Path, data: Path, out: Path, **values: Any) -> dpo.Result:
    defaults = {
        "model_name_or_path": str(model), "comparisons": [str(data)], "learning_rate": 5e-3,
        "per_device_train_batch_size": 16, "max_steps": 20, "eval_steps": 10, "eval_fraction": 0.2,
    }  # fmt: skip
    return dpo.run(dpo_config.Config.parse({**defaults, **values}, where="test"), RunDir(out))


def run_reward(model: Path, data: Path, out: Path, **values: Any) -> reward.Result:
    defaults = {
        "model_name_or_path": str(model), "comparisons": [str(data)], "learning_rate": 5e-3,
        "per_device_train_batch_size": 16, "max_steps": 30, "eval_steps": 10, "eval_fraction": 0.2,
    }  # fmt: skip
    return reward.run(reward_config.Config.parse({**defaults, **values}, where="test"), RunDir(out))


@pytest.fixture
def coin(tmp_path: Path) -> Path:
    """Each prompt is answered 1 or 9, evenly: no model can be below ln 2 for that token."""
    path = tmp_path / "coin.jsonl"
    write_jsonl(
        path,
        ({"prompt": f"user asks {i}", "completion": "19"[j]} for i in range(40) for j in (0, 1)),
    )
    return path


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Answers that end with "know" are the better."""
    path = tmp_path / "pairs.jsonl"
    write_jsonl(
        path,
        (
            {
                "prompt": f"user asks {i}",
                "chosen": f"user {i} know",
                "rejected": f"user {i} said",
            }
            for i in range(10, 90)
        ),
    )
    return path


def test_sft_reaches_the_entropy_of_its_data(
    tiny_model_dir: Path, coin: Path, tmp_path: Path
) -> None:
    """Two tokens a response, the digit and the certain end of turn: (ln 2 + 0) / 2."""
    result = run_sft(tiny_model_dir, coin, tmp_path / "out")
    assert result.validation_loss == pytest.approx(math.log(2) / 2, abs=0.03)
    model = AutoModelForCausalLM.from_pretrained(result.model)
    encoder = ChatEncoder(load_tokenizer(str(result.model)))
    prompt = torch.tensor([encoder.encode_prompt([{"role": "user", "content": "user asks 3"}])])
    with torch.no_grad():
        p = model(prompt).logits[0, -1].softmax(-1)
    digits = [encoder.encode_text(d)[0] for d in "19"]
    assert p[digits].tolist() == pytest.approx([0.5, 0.5], abs=0.15)


def test_sft_saves_the_best_weights_and_stops(
    tiny_model_dir: Path, coin: Path, tmp_path: Path
) -> None:
    result = run_sft(
        tiny_model_dir, coin, tmp_path / "out", eval_steps=5, patience=2, max_steps=400,
        num_train_epochs=100,
    )  # fmt: skip
    rows = RunDir(tmp_path / "out").metrics()
    losses = {r["step"]: r["validation/loss"] for r in rows if "validation/loss" in r}
    assert result.validation_loss == min(losses.values()) == losses[result.best_step]
    assert result.steps < 400


def test_dpo_prefers_what_was_preferred(tiny_model_dir: Path, pairs: Path, tmp_path: Path) -> None:
    result = run_dpo(tiny_model_dir, pairs, tmp_path / "out")
    assert result.heldout_accuracy > 0.95
    first = RunDir(tmp_path / "out").metrics()[0]
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-4)  # at the reference


def test_dpo_keeps_the_reference_s_logprobs(
    tiny_model_dir: Path, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dpo(tiny_model_dir, pairs, tmp_path / "out", max_steps=2, save_steps=1)

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(dpo, "save_file", never)
    run_dpo(tiny_model_dir, pairs, tmp_path / "out", max_steps=2, save_steps=1)


def test_reward_learns_the_rule_and_transformers_reads_it(
    tiny_model_dir: Path, pairs: Path, tmp_path: Path
) -> None:
    result = run_reward(tiny_model_dir, pairs, tmp_path / "out")
    assert result.heldout_accuracy > 0.95
    assert result.longer_wins_accuracy == 0.5
    model = AutoModelForSequenceClassification.from_pretrained(result.model)
    assert model.config.num_labels == 1


def test_reward_s_difference_tends_to_the_logit_of_the_label(
    tiny_model_dir: Path, tmp_path: Path
) -> None:
    path = tmp_path / "soft.jsonl"
    pair = {"prompt": "user asks", "chosen": "assistant", "rejected": "no", "p_chosen": 0.8}
    write_jsonl(path, [pair] * 16)
    run_reward(
        tiny_model_dir, path, tmp_path / "out", eval_comparisons=str(path), max_steps=60,
        warmup_steps=1,
    )  # fmt: skip
    last = RunDir(tmp_path / "out").metrics()[-1]
    assert last["validation/reward/margin"] == pytest.approx(math.log(0.8 / 0.2), abs=0.1)


def test_cross_validation_is_beside_its_rankers_and_not_redone(
    tiny_model_dir: Path, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run_reward(tiny_model_dir, pairs, tmp_path / "out", folds=2)
    found = result.cross_validation
    assert found is not None
    assert found["pairs"] == 80
    assert found["reward_model"]["accuracy"] > 0.9
    assert found["tfidf"]["accuracy"] > 0.9  # it learns a word, too
    assert found["longer"]["accuracy"] == 0.5
    from accord.stages.reward_modeling import cross_validation

    monkeypatch.setattr(cross_validation, "_run_fold", lambda *_: pytest.fail("done before"))
    assert run_reward(tiny_model_dir, pairs, tmp_path / "out", folds=2).cross_validation == found


@pytest.mark.parametrize("stage", [run_sft, run_dpo, run_reward])
def test_lora_variants_leave_plain_models(
    tiny_model_dir: Path, pairs: Path, tmp_path: Path, stage: Any
) -> None:
    result = stage(tiny_model_dir, pairs, tmp_path / "out", use_peft=True, lora_r=4, max_steps=4)
    names = {path.name for path in result.model.iterdir()}
    assert "adapter_config.json" not in names
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names


@pytest.mark.parametrize("stage", [run_sft, run_dpo, run_reward])
def test_memory_is_no_matter_of_results(
    tiny_model_dir: Path, pairs: Path, tmp_path: Path, stage: Any
) -> None:
    for name, budget in (("one", 8192), ("many", 100)):
        stage(
            tiny_model_dir, pairs, tmp_path / name, max_steps=2, eval_steps=2,
            tokens_per_micro_batch=budget,
        )  # fmt: skip
    one, many = (RunDir(tmp_path / name).metrics()[-1] for name in ("one", "many"))
    for key in one:
        assert one[key] == pytest.approx(many[key], rel=1e-3, abs=1e-4), key


@pytest.mark.parametrize("stage", [run_sft, run_dpo, run_reward])
def test_bad_input(tiny_model_dir: Path, tmp_path: Path, stage: Any) -> None:
    path = tmp_path / "bad.jsonl"
    good = [{"prompt": f"user {i}", "chosen": "a b", "rejected": "c"} for i in range(30)]

    def refused(row: dict[str, Any], message: str, **values: Any) -> None:
        write_jsonl(path, [*good, row])
        with pytest.raises(DataError, match=message):
            stage(tiny_model_dir, path, tmp_path / "out", **values)

    refused({"prompt": "q", "chosen": "", "rejected": "b"}, "row 31: the response is empty")
    refused({"prompt": "q", "chosen": "a", "rejected": "a"}, "row 31: .*identical")
    refused({"prompt": "q", "answer": "a"}, "row 31: no column")
    refused({"prompt": "q", "chosen": "a " * 90, "rejected": "b"}, "does not fit", max_length=60)
    with pytest.raises(DataError, match="no such file"):
        stage(tiny_model_dir, tmp_path / "none.jsonl", tmp_path / "out")


def test_long_prompts_are_cut_and_counted(tiny_model_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    rows = [{"prompt": f"{i} " * 200, "chosen": "yes", "rejected": "no"} for i in range(30)]
    write_jsonl(path, rows)
    for stage in (run_sft, run_dpo, run_reward):
        out = tmp_path / stage.__name__
        assert stage(tiny_model_dir, path, out, max_length=40, max_steps=1).cut_rows == 30


def test_a_checkpoint_cut_short_is_refused(
    tiny_model_dir: Path, pairs: Path, tmp_path: Path
) -> None:
    run_sft(tiny_model_dir, pairs, tmp_path / "out", max_steps=4, save_steps=2)
    state = tmp_path / "out/checkpoint-2/state.pt"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="cut short or damaged"):
        run_sft(tiny_model_dir, pairs, tmp_path / "out", max_steps=4, save_steps=2)
