"""Supervised fine-tuning: what it learns, which weights it keeps, that it resumes, bad input."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from accord.core.errors import CheckpointError, ConfigError, DataError
from accord.core.files import write_jsonl
from accord.core.run_dir import RunDir
from accord.corpora.encoding import ChatEncoder
from accord.models.loading import load_tokenizer
from accord.stages.sft import run as sft
from accord.stages.sft.config import Config


class Killed(Exception):
    """Stands in for a kill: nothing after it runs."""


def config(model: Path, data: Path, **values: Any) -> Config:
    defaults = {
        "model_name_or_path": str(model), "dataset_name": [str(data)], "learning_rate": 1e-2,
        "per_device_train_batch_size": 16, "max_steps": 60, "eval_steps": 20, "eval_fraction": 0.2,
    }  # fmt: skip
    return Config.parse({**defaults, **values}, where="test")


def run(model: Path, data: Path, out: Path, **values: Any) -> sft.Result:
    return sft.run(config(model, data, **values), RunDir(out))


def nats_a_token(model_path: Path, rows: list[dict[str, str]]) -> float:
    """The mean over all response tokens, a row at a time, from the logits of `transformers`."""
    model = AutoModelForCausalLM.from_pretrained(model_path)
    encoder = ChatEncoder(load_tokenizer(str(model_path)))
    nats: list[float] = []
    for row in rows:
        prompt = encoder.encode_prompt([{"role": "user", "content": row["prompt"]}])
        response = encoder.encode_response(row["completion"])
        with torch.no_grad():
            logprobs = model(torch.tensor([prompt + response])).logits[0].log_softmax(-1)
        first = len(prompt) - 1
        nats += [-logprobs[first + i, token].item() for i, token in enumerate(response)]
    return sum(nats) / len(nats)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Responses of several lengths."""
    path = tmp_path / "demonstrations.jsonl"
    write_jsonl(path, demonstrations())
    return path


def demonstrations(word: str = "know") -> list[dict[str, str]]:
    return [
        {"prompt": f"user asks {i}", "completion": "and " * (i % 4) + word} for i in range(10, 70)
    ]


@pytest.mark.parametrize("ones", [1, 3])
def test_it_reaches_the_entropy_of_its_data(
    tiny_model_dir: Path, tmp_path: Path, ones: int
) -> None:
    """Each prompt is answered 1 once or three times, and 9 once. A response has two tokens, the
    digit and the certain end of turn, so the floor is half the entropy of the digit.
    """
    path = tmp_path / "coin.jsonl"
    digits = "1" * ones + "9"
    write_jsonl(
        path, ({"prompt": f"user asks {i}", "completion": d} for i in range(40) for d in digits)
    )
    p = ones / (ones + 1)
    entropy = -p * math.log(p) - (1 - p) * math.log(1 - p)
    result = run(tiny_model_dir, path, tmp_path / "out")
    assert result.validation_loss == pytest.approx(entropy / 2, abs=0.03)
    chances = [
        math.exp(-2 * nats_a_token(result.model, [{"prompt": "user asks 77", "completion": d}]))
        for d in "19"
    ]
    assert chances == pytest.approx([p, 1 - p], abs=0.15)


def test_adapters_learn_and_are_folded_in(tiny_model_dir: Path, tmp_path: Path) -> None:
    """A model that says two words for certain learns to say them in the other order.

    Adapters cannot teach a random model to be certain: its output embedding stays frozen.
    """
    start = tiny_model_dir
    for order, values in ((" know said", {}), (" said know", {"use_peft": True, "lora_r": 4})):
        rows = [{"prompt": f"user asks {i}", "completion": order} for i in range(40)]
        write_jsonl(tmp_path / "rows.jsonl", rows)
        assert nats_a_token(start, rows) > 1.0
        start = run(start, tmp_path / "rows.jsonl", tmp_path / order[1:5], **values).model
        assert nats_a_token(start, rows) < 0.05
    assert not (start / "adapter_config.json").exists()


@pytest.mark.parametrize("budget", [1, 300, 100_000])
def test_the_loss_is_a_mean_over_response_tokens(
    tiny_model_dir: Path, data: Path, tmp_path: Path, budget: int
) -> None:
    """Neither padding, nor what shares a batch, nor the size of a piece changes it."""
    run(
        tiny_model_dir, data, tmp_path / "out", eval_dataset_name=str(data), max_steps=1,
        per_device_train_batch_size=60, tokens_per_micro_batch=budget,
    )  # fmt: skip
    start, step = RunDir(tmp_path / "out").metrics()
    expected = nats_a_token(tiny_model_dir, demonstrations())
    assert start["validation/loss"] == pytest.approx(expected, abs=1e-5)
    assert step["loss"] == pytest.approx(expected, abs=1e-5)


def test_memory_is_no_matter_of_results(tiny_model_dir: Path, data: Path, tmp_path: Path) -> None:
    for name, budget in (("one", 8192), ("many", 60)):
        run(
            tiny_model_dir, data, tmp_path / name, max_steps=4, eval_steps=2,
            tokens_per_micro_batch=budget,
        )  # fmt: skip
    for one, many in zip(*(RunDir(tmp_path / n).metrics() for n in ("one", "many")), strict=True):
        assert one == pytest.approx(many, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("use_peft", [False, True])
def test_the_best_weights_are_saved_and_patience_ends_it(
    tiny_model_dir: Path, data: Path, tmp_path: Path, use_peft: bool
) -> None:
    """Validation rows end in another word: first both are learned, then one at the other's cost."""
    other = tmp_path / "other.jsonl"
    write_jsonl(other, demonstrations("said"))
    result = run(
        tiny_model_dir, data, tmp_path / "out", eval_dataset_name=str(other), eval_steps=4,
        patience=2, max_steps=200, num_train_epochs=100, use_peft=use_peft,
    )  # fmt: skip
    rows = RunDir(tmp_path / "out").metrics()
    losses = {row["step"]: row["validation/loss"] for row in rows if "validation/loss" in row}
    assert 0 < result.best_step < result.steps < 200
    assert result.steps == max(losses) == result.best_step + 2 * 4
    assert result.validation_loss == losses[result.best_step] == min(losses.values())
    assert losses[result.steps] > result.validation_loss + 0.01
    saved = nats_a_token(result.model, demonstrations("said"))
    assert saved == pytest.approx(result.validation_loss, abs=1e-4)


@pytest.mark.parametrize("use_peft", [False, True])
@pytest.mark.parametrize("killed_after", [1, 5])
def test_resumed_is_unbroken_bit_for_bit(
    tiny_model_dir: Path,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    use_peft: bool,
    killed_after: int,
) -> None:
    """Before the first checkpoint, and after one that must bring the best weights back."""
    other = tmp_path / "other.jsonl"
    write_jsonl(other, demonstrations("said"))
    values: dict[str, Any] = {
        "eval_dataset_name": str(other), "max_steps": 12, "eval_steps": 1, "save_steps": 2,
        "patience": 3, "learning_rate": 3e-2, "warmup_steps": 0, "use_peft": use_peft,
        "lora_dropout": 0.1,
    }  # fmt: skip
    unbroken = run(tiny_model_dir, data, tmp_path / "unbroken", **values)
    log = RunDir.log

    def killed(self: RunDir, step: int, metrics: dict[str, float]) -> None:
        log(self, step, metrics)
        if step == killed_after:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(RunDir, "log", killed)
        with pytest.raises(Killed):
            run(tiny_model_dir, data, tmp_path / "broken", **values)
    torch.manual_seed(4321)
    resumed = run(tiny_model_dir, data, tmp_path / "broken", **values)
    assert RunDir(tmp_path / "broken").metrics() == RunDir(tmp_path / "unbroken").metrics()
    weights = [(r.model / "model.safetensors").read_bytes() for r in (resumed, unbroken)]
    assert weights[0] == weights[1]
    assert (resumed.best_step, resumed.steps) == (unbroken.best_step, unbroken.steps)
    assert unbroken.best_step < 4  # the checkpoint of step 4 knows of it


def test_conversations_and_pairs_are_demonstrations(tiny_model_dir: Path, tmp_path: Path) -> None:
    """The same words in three shapes are the same rows."""
    losses = []
    for shape in ("completion", "messages", "chosen"):
        rows: list[dict[str, Any]] = demonstrations()  # type: ignore[assignment]
        if shape == "messages":
            turns = [("user", "prompt"), ("assistant", "completion")]
            rows = [
                {"messages": [{"role": role, "content": row[key]} for role, key in turns]}
                for row in rows
            ]
        elif shape == "chosen":
            rows = [
                {"prompt": row["prompt"], "chosen": row["completion"], "rejected": "no"}
                for row in rows
            ]
        write_jsonl(tmp_path / "rows.jsonl", rows)
        run(tiny_model_dir, tmp_path / "rows.jsonl", tmp_path / shape, max_steps=2)
        losses.append([row.get("loss") for row in RunDir(tmp_path / shape).metrics()])
    assert losses[0] == losses[1] == losses[2]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "q", "completion": " "}, "row 61: the response is empty"),
        ({"prompt": "", "completion": "a"}, "row 61: the prompt is empty"),
        ({"prompt": "q", "answer": "a"}, "row 61: no column 'completion'"),
        ({"messages": [{"role": "user", "content": "a"}]}, "row 61: expected exactly one assist"),
        ({"prompt": "q", "completion": "a " * 90}, "row 61: .*does not fit max_length 60; raise"),
    ],
)
def test_bad_rows_are_refused(
    tiny_model_dir: Path, data: Path, tmp_path: Path, row: dict[str, Any], message: str
) -> None:
    write_jsonl(data, [*demonstrations(), row])
    with pytest.raises(DataError, match=rf"demonstrations\.jsonl, {message}"):
        run(tiny_model_dir, data, tmp_path / "out", max_length=60)
    assert not (tmp_path / "out/metrics.jsonl").exists()


def test_bad_sources_are_refused(tiny_model_dir: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        run(tiny_model_dir, tmp_path / "none.jsonl", tmp_path / "out")
    with pytest.raises(DataError, match="no such file"):
        run(tiny_model_dir, data, tmp_path / "out", eval_dataset_name=str(tmp_path / "no.jsonl"))
    with pytest.raises(ConfigError, match="did you mean 'learning_rate'"):
        config(tiny_model_dir, data, learning_rat=1.0)
    write_jsonl(data, demonstrations()[:1])
    with pytest.raises(DataError, match="1 demonstrations are too few to hold some out"):
        run(tiny_model_dir, data, tmp_path / "out")


def test_long_prompts_are_cut_and_counted(tiny_model_dir: Path, data: Path, tmp_path: Path) -> None:
    """In training and in held-out rows."""
    encoder = ChatEncoder(load_tokenizer(str(tiny_model_dir)))
    prompts = ["user asks " * (1 + i % 20) for i in range(60)]
    write_jsonl(data, [{"prompt": text, "completion": "know"} for text in prompts])
    room = 40 - len(encoder.encode_response("know"))
    lengths = [len(encoder.encode_prompt([{"role": "user", "content": p}])) for p in prompts]
    cuts = [length - room for length in lengths if length > room]
    result = run(tiny_model_dir, data, tmp_path / "out", max_length=40, max_steps=1)
    assert 0 < result.cut_rows == len(cuts) < 60
    assert result.cut_tokens == sum(cuts)


def test_a_checkpoint_cut_short_is_refused(
    tiny_model_dir: Path, data: Path, tmp_path: Path
) -> None:
    values = {"max_steps": 4, "save_steps": 2}
    run(tiny_model_dir, data, tmp_path / "out", **values)
    state = tmp_path / "out/checkpoint-2/state.pt"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="cut short or damaged.*delete"):
        run(tiny_model_dir, data, tmp_path / "out", **values)
