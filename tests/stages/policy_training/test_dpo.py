"""DPO: what it learns, against which reference, that it resumes, bad input."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from accord.core.errors import CheckpointError, ConfigError, DataError
from accord.core.files import write_jsonl
from accord.core.run_dir import RunDir
from accord.corpora.encoding import ChatEncoder
from accord.models.loading import load_tokenizer
from accord.stages.policy_training import direct
from accord.stages.policy_training.dpo import run as dpo
from accord.stages.policy_training.dpo.config import Config


class Killed(Exception):
    """Stands in for a kill: nothing after it runs."""


def config(model: Path, data: Path, **values: Any) -> Config:
    defaults = {
        "model_name_or_path": str(model), "comparisons": [str(data)], "learning_rate": 5e-3,
        "per_device_train_batch_size": 16, "max_steps": 20, "eval_steps": 10, "eval_fraction": 0.2,
    }  # fmt: skip
    return Config.parse({**defaults, **values}, where="test")


def run(model: Path, data: Path, out: Path, **values: Any) -> dpo.Result:
    return dpo.run(config(model, data, **values), RunDir(out))


def rows() -> list[dict[str, Any]]:
    """Answers that end with `know` are the better; what comes before has several lengths."""
    return [
        {
            "prompt": f"user asks {i}",
            "chosen": "and " * (i % 4) + "know",
            "rejected": "and " * (i % 3) + "said",
        }
        for i in range(10, 90)
    ]


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.jsonl"
    write_jsonl(path, rows())
    return path


def summed_logprobs(model_path: Path, column: str) -> torch.Tensor:
    """(N,) of the responses in a column, a row at a time, from the logits of `transformers`."""
    model = AutoModelForCausalLM.from_pretrained(model_path)
    encoder = ChatEncoder(load_tokenizer(str(model_path)))
    sums = []
    for row in rows():
        prompt = encoder.encode_prompt([{"role": "user", "content": row["prompt"]}])
        response = encoder.encode_response(row[column])
        with torch.no_grad():
            logprobs = model(torch.tensor([prompt + response])).logits[0].log_softmax(-1)
        taken = logprobs[len(prompt) - 1 : -1].gather(1, torch.tensor(response).unsqueeze(1))
        sums.append(taken.sum())
    return torch.stack(sums)


@pytest.mark.parametrize("use_peft", [False, True])
def test_it_prefers_what_was_preferred(
    tiny_model_dir: Path, pairs: Path, tmp_path: Path, use_peft: bool
) -> None:
    lora = {"use_peft": True, "lora_r": 4, "learning_rate": 2e-2} if use_peft else {}
    result = run(tiny_model_dir, pairs, tmp_path / "out", **lora)
    assert result.heldout_accuracy > 0.95
    assert result.pairs + result.heldout_pairs == 80
    first = RunDir(tmp_path / "out").metrics()[0]
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-5)  # at the reference
    assert first["reward/margin"] == pytest.approx(0.0, abs=1e-5)
    assert not (result.model / "adapter_config.json").exists()


@pytest.mark.parametrize("use_peft", [False, True])
def test_the_figures_are_those_of_the_saved_policy(
    tiny_model_dir: Path, pairs: Path, tmp_path: Path, use_peft: bool
) -> None:
    """Loss and accuracy once more, from the two models and the formula alone."""
    result = run(
        tiny_model_dir, pairs, tmp_path / "out", eval_comparisons=str(pairs), max_steps=5,
        use_peft=use_peft, beta=0.3, tokens_per_micro_batch=300,
    )  # fmt: skip
    chosen, rejected = (
        0.3 * (summed_logprobs(result.model, side) - summed_logprobs(tiny_model_dir, side))
        for side in ("chosen", "rejected")
    )
    z = chosen - rejected
    assert result.validation_loss == pytest.approx(float((1 + (-z).exp()).log().mean()), abs=1e-4)
    assert result.heldout_accuracy == pytest.approx(float((z > 0).float().mean()))
    last = RunDir(tmp_path / "out").metrics()[-1]
    assert last["validation/reward/chosen"] == pytest.approx(float(chosen.mean()), abs=1e-4)
    assert last["validation/reward/rejected"] == pytest.approx(float(rejected.mean()), abs=1e-4)


@pytest.mark.parametrize("p_chosen", [0.8, 0.3])
def test_the_margin_tends_to_the_logit_of_the_label(
    tiny_model_dir: Path, tmp_path: Path, p_chosen: float
) -> None:
    """With one repeated pair, the loss is lowest where sigmoid(margin) is the label."""
    path = tmp_path / "soft.jsonl"
    pair = {"prompt": "user asks", "chosen": "know", "rejected": "said", "p_chosen": p_chosen}
    write_jsonl(path, [pair] * 16)
    result = run(
        tiny_model_dir, path, tmp_path / "out", eval_comparisons=str(path), max_steps=50,
        beta=0.5, warmup_steps=1,
    )  # fmt: skip
    logit = math.log(p_chosen / (1 - p_chosen))
    last = RunDir(tmp_path / "out").metrics()[-1]
    assert last["validation/reward/margin"] == pytest.approx(logit, abs=0.1)
    assert result.heldout_accuracy == 1.0  # as judged: below 1/2, rejected is the better


@pytest.mark.parametrize("use_peft", [False, True])
def test_the_reference_is_read_once_and_kept(
    tiny_model_dir: Path,
    pairs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    use_peft: bool,
) -> None:
    """Four steps, with held-out figures after the second and the fourth; broken off in step 3."""
    calls = []
    read = direct.token_logprobs

    def counted(*arguments: Any, **values: Any) -> Any:
        calls.append(torch.is_grad_enabled())
        return read(*arguments, **values)

    def killed(self: RunDir, step: int, metrics: dict[str, float]) -> None:
        if step == 3:
            raise Killed

    values = {
        "max_steps": 4, "eval_steps": 2, "save_steps": 2, "eval_comparisons": str(pairs),
        "use_peft": use_peft, "tokens_per_micro_batch": 100_000,
    }  # fmt: skip
    monkeypatch.setattr(direct, "token_logprobs", counted)
    with monkeypatch.context() as patch:
        patch.setattr(RunDir, "log", killed)
        with pytest.raises(Killed):
            run(tiny_model_dir, pairs, tmp_path / "out", **values)
    assert calls == [False, False, True, True, False, True]  # both sides of the split, then steps
    kept = {path: path.read_bytes() for path in (tmp_path / "out").glob("reference-*/*")}
    assert len(kept) == 2
    calls.clear()
    run(tiny_model_dir, pairs, tmp_path / "out", **values)
    assert calls == [True, True, False]
    assert {path: path.read_bytes() for path in (tmp_path / "out").glob("reference-*/*")} == kept
    (train,) = (tmp_path / "out").glob("reference-train*/logps.safetensors")
    found = load_file(train)
    for side in ("chosen", "rejected"):
        expected = summed_logprobs(tiny_model_dir, side)
        torch.testing.assert_close(found[side], expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("use_peft", [False, True])
@pytest.mark.parametrize("killed_after", [1, 5])
def test_resumed_is_unbroken_bit_for_bit(
    tiny_model_dir: Path,
    pairs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    use_peft: bool,
    killed_after: int,
) -> None:
    """Before the first checkpoint, and between the fourth step's and the end."""
    values = {"max_steps": 6, "eval_steps": 2, "save_steps": 2, "use_peft": use_peft}
    unbroken = run(tiny_model_dir, pairs, tmp_path / "unbroken", **values)
    log = RunDir.log

    def killed(self: RunDir, step: int, metrics: dict[str, float]) -> None:
        log(self, step, metrics)
        if step == killed_after:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(RunDir, "log", killed)
        with pytest.raises(Killed):
            run(tiny_model_dir, pairs, tmp_path / "broken", **values)
    torch.manual_seed(4321)
    resumed = run(tiny_model_dir, pairs, tmp_path / "broken", **values)
    assert RunDir(tmp_path / "broken").metrics() == RunDir(tmp_path / "unbroken").metrics()
    weights = [(r.model / "model.safetensors").read_bytes() for r in (resumed, unbroken)]
    assert weights[0] == weights[1]
    assert resumed.validation_loss == unbroken.validation_loss


def test_memory_is_no_matter_of_results(tiny_model_dir: Path, pairs: Path, tmp_path: Path) -> None:
    """One piece, several, and a pair a piece; soft labels and one without a side among them."""
    labels = [1.0, 0.7, 0.5, 0.2]
    write_jsonl(pairs, [{**row, "p_chosen": labels[i % 4]} for i, row in enumerate(rows())])
    for name, budget in (("one", 8192), ("several", 200), ("each", 1)):
        run(
            tiny_model_dir, pairs, tmp_path / name, max_steps=3, eval_steps=3,
            tokens_per_micro_batch=budget,
        )  # fmt: skip
    expected = RunDir(tmp_path / "one").metrics()
    for name in ("several", "each"):
        for one, many in zip(expected, RunDir(tmp_path / name).metrics(), strict=True):
            assert one == pytest.approx(many, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "q", "chosen": "", "rejected": "b"}, "row 81: the response is empty"),
        ({"prompt": "q", "chosen": "a", "rejected": "a"}, "row 81: .*identical"),
        ({"prompt": "q", "answer": "a"}, "row 81: no column 'chosen'"),
        ({"prompt": "q", "chosen": "a", "rejected": "b", "p_chosen": -1}, "row 81: p_chosen must"),
        ({"prompt": "q", "chosen": "a " * 90, "rejected": "b"}, "row 81: .*.*does not fit"),
    ],
)
def test_bad_rows_are_refused(
    tiny_model_dir: Path, pairs: Path, tmp_path: Path, row: dict[str, Any], message: str
) -> None:
    write_jsonl(pairs, [*rows(), row])
    with pytest.raises(DataError, match=message):
        run(tiny_model_dir, pairs, tmp_path / "out", max_length=60)
    assert not (tmp_path / "out/metrics.jsonl").exists()


def test_bad_sources_are_refused(tiny_model_dir: Path, pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        run(tiny_model_dir, tmp_path / "none.jsonl", tmp_path / "out")
    with pytest.raises(DataError, match="no such file"):
        run(tiny_model_dir, pairs, tmp_path / "out", eval_comparisons=str(tmp_path / "no.jsonl"))
    with pytest.raises(ConfigError, match="beta"):
        config(tiny_model_dir, pairs, beta=0.0)
    write_jsonl(pairs, rows()[:1])
    with pytest.raises(DataError, match="1 comparisons are too few to hold some out"):
        run(tiny_model_dir, pairs, tmp_path / "out")


def test_long_prompts_are_cut_and_counted(tiny_model_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    write_jsonl(path, [{**row, "prompt": f"{row['prompt']} " * 30} for row in rows()[:30]])
    assert run(tiny_model_dir, path, tmp_path / "out", max_length=40, max_steps=1).cut_rows == 30


def test_a_checkpoint_cut_short_is_refused(
    tiny_model_dir: Path, pairs: Path, tmp_path: Path
) -> None:
    values = {"max_steps": 4, "save_steps": 2}
    run(tiny_model_dir, pairs, tmp_path / "out", **values)
    state = tmp_path / "out/checkpoint-2/state.pt"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="cut short or damaged.*delete"):
        run(tiny_model_dir, pairs, tmp_path / "out", **values)
