"""Process reward models: steps and their ends, what is learned, and what RL is paid."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from accord.core.errors import DataError, ModelError
from accord.core.files import write_jsonl
from accord.core.reward_config import RewardConfig
from accord.core.run_dir import RunDir
from accord.corpora.encoding import ChatEncoder
from accord.corpora.steps import encode_steps, load_steps, split_steps
from accord.models.loading import load_tokenizer
from accord.objectives.process import response_value, step_loss
from accord.rewards.mixed import load_reward
from accord.stages.process_reward import run as process_reward
from accord.stages.process_reward.config import Config


class Killed(Exception):
    """Stands in for a kill: nothing after it runs."""


def rows(count: int = 80) -> list[dict[str, Any]]:
    """Steps with "know" are right, those with "said" wrong; the first wrong one is anywhere."""
    found = []
    for i in range(count):
        steps = [f"user {i} {'said' if (i >> place) % 2 else 'know'}" for place in range(3)]
        labels = ["know" in step for step in steps]
        found.append({"prompt": f"asks {i}", "completions": steps, "labels": labels})
    return found


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "steps.jsonl"
    write_jsonl(path, rows())
    return path


@pytest.fixture
def encoder(tiny_model_dir: Path) -> ChatEncoder:
    return ChatEncoder(load_tokenizer(str(tiny_model_dir)))


def config(model: Path, data: Path, **values: Any) -> Config:
    defaults = {
        "model_name_or_path": str(model), "dataset_name": [str(data)], "learning_rate": 5e-3,
        "max_steps": 30, "eval_steps": 10, "eval_fraction": 0.2,
    }  # fmt: skip
    return Config.parse({**defaults, **values}, where="test")


def run(model: Path, data: Path, out: Path, **values: Any) -> process_reward.Result:
    return process_reward.run(config(model, data, **values), RunDir(out))


def score(model: Path, responses: list[str], encoder: ChatEncoder) -> Any:
    fields = RewardConfig.parse({"reward_model_name_or_path": str(model)}, where="test")
    cpu = torch.device("cpu")
    reward = load_reward(fields, device=cpu, max_length=128, policy_encoder=encoder)
    none: list[list[int]] = [[] for _ in responses]
    prompts: Any = [[{"role": "user", "content": "asks 5"}] for _ in responses]
    columns: Any = [{}] * len(responses)
    return reward.score(prompts, responses, prompt_ids=none, response_ids=none, columns=columns)


# Mathematics -------------------------------------------------------------------------------------


def test_step_loss_by_hand() -> None:
    scores, labels = torch.tensor([2.0, 2.0, -1.0, 3.0]), torch.tensor([1.0, 0.0, 0.25, 0.5])
    nats = [
        math.log1p(math.exp(-2)),
        math.log1p(math.exp(2)),
        0.25 * math.log1p(math.exp(1)) + 0.75 * math.log1p(math.exp(-1)),
        0.5 * math.log1p(math.exp(-3)) + 0.5 * math.log1p(math.exp(3)),
    ]
    found = step_loss(scores, labels)
    assert found.loss.item() == pytest.approx(sum(nats) / 4, abs=1e-6)
    assert found.accuracy.item() == pytest.approx(2 / 3)
    halves = sum(
        step_loss(scores[part], labels[part], denominator=4.0).loss.item()
        for part in (slice(2), slice(2, 4))
    )
    assert halves == pytest.approx(sum(nats) / 4, abs=1e-6)
    double = scores.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda s: step_loss(s, labels.double()).loss, (double,))
    with pytest.raises(ValueError, match="labels must lie"):
        step_loss(scores, labels + 1)


@pytest.mark.parametrize(
    ("aggregation", "expected"), [("min", 0.5), ("product", 0.36), ("mean", 0.7), ("last", 0.8)]
)
def test_values_of_a_response_by_hand(aggregation: str, expected: float) -> None:
    steps = torch.tensor([0.5, 0.9, 0.8])
    found = response_value(steps, aggregation=aggregation)
    mean = float(steps.mean()) if aggregation == "mean" else expected
    assert float(found) == pytest.approx(mean)


# Steps -------------------------------------------------------------------------------------------


def test_every_step_is_read_at_its_last_token(encoder: ChatEncoder) -> None:
    steps = ["user asks", "the answer"]
    found = encode_steps(
        [{"role": "user", "content": "q"}], steps, encoder, separator="\n", max_length=64, where=""
    )
    ids = found.row.input_ids
    first, last = (ids[place] for place in found.places)
    assert encoder.decode([first]) == "\n" and last == encoder.end_of_turn_id
    assert encoder.decode(found.row.response_ids) == "user asks\nthe answer"
    # A step has the same ids whatever follows.
    more = encode_steps(
        [{"role": "user", "content": "q"}], [*steps, "x"], encoder, separator="\n", max_length=64,
        where="",
    )  # fmt: skip
    assert more.row.input_ids[: found.places[0] + 1] == ids[: found.places[0] + 1]


def test_responses_are_split_as_they_were_trained() -> None:
    assert split_steps("a\n\n b\n", separator="\n") == ["a", " b"]
    assert split_steps("", separator="\n") == [""]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"labels": [True]}, "row 1: expected lists of one length"),
        ({"labels": [True, 2]}, "row 1: expected true, false or a probability as label 2, got 2"),
        ({"completions": ["a", " "]}, "row 1: step 2 is empty"),
        ({"labels": None}, "row 1: no column 'labels'"),
    ],
)
def test_bad_rows_are_refused(tmp_path: Path, values: dict[str, Any], message: str) -> None:
    path = tmp_path / "bad.jsonl"
    write_jsonl(path, [{"prompt": "q", "completions": ["a", "b"], "labels": [1, 0], **values}])
    with pytest.raises(DataError, match=message):
        load_steps([str(path)])


# The stage ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("use_peft", [False, True])
def test_it_finds_the_first_wrong_step(
    tiny_model_dir: Path, data: Path, tmp_path: Path, encoder: ChatEncoder, use_peft: bool
) -> None:
    fields: dict[str, Any] = {"use_peft": True, "learning_rate": 1e-2} if use_peft else {}
    result = run(tiny_model_dir, data, tmp_path / "out", **fields)
    assert result.heldout_accuracy > 0.95 > 0.7 > result.majority_accuracy
    assert result.first_error_accuracy > 0.9
    model = AutoModelForSequenceClassification.from_pretrained(result.model)
    assert model.config.num_labels == 1
    good, bad = "user 5 know\nuser 5 know", "user 5 know\nuser 5 said\nuser 5 know"
    found = score(result.model, [good, bad], encoder)
    assert [len(steps) for steps in found.per_step] == [2, 3]
    assert found.per_step[1][1] < 0.5 < min(found.per_step[1][0], found.per_step[1][2])
    assert found.values == pytest.approx([min(steps) for steps in found.per_step])
    assert found.values[0] > 0.5 > found.values[1]


def test_resumed_is_unbroken_bit_for_bit(
    tiny_model_dir: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"max_steps": 6, "eval_steps": 2, "save_steps": 2}
    unbroken = run(tiny_model_dir, data, tmp_path / "unbroken", **values)
    log = RunDir.log

    def killed(self: RunDir, step: int, metrics: dict[str, float]) -> None:
        log(self, step, metrics)
        if step == 5:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(RunDir, "log", killed)
        with pytest.raises(Killed):
            run(tiny_model_dir, data, tmp_path / "broken", **values)
    torch.manual_seed(4321)
    resumed = run(tiny_model_dir, data, tmp_path / "broken", **values)
    metrics = [RunDir(tmp_path / name).metrics() for name in ("unbroken", "broken")]
    assert metrics[0] == metrics[1]
    weights = [(r.model / "model.safetensors").read_bytes() for r in (unbroken, resumed)]
    assert weights[0] == weights[1]


def test_memory_is_no_matter_of_results(tiny_model_dir: Path, data: Path, tmp_path: Path) -> None:
    for name, budget in (("one", 8192), ("many", 90)):
        run(
            tiny_model_dir, data, tmp_path / name, max_steps=3, eval_steps=3,
            tokens_per_micro_batch=budget,
        )  # fmt: skip
    for one, many in zip(*(RunDir(tmp_path / n).metrics() for n in ("one", "many")), strict=True):
        assert one == pytest.approx(many, rel=1e-3, abs=1e-4)


def test_a_damaged_description_is_refused(
    tiny_model_dir: Path, data: Path, tmp_path: Path, encoder: ChatEncoder
) -> None:
    result = run(tiny_model_dir, data, tmp_path / "out", max_steps=1)
    (result.model / "process_reward.json").write_text("{}")
    with pytest.raises(ModelError, match=r"process_reward.json: cannot be read"):
        score(result.model, ["a"], encoder)
