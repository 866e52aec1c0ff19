"""The direct methods beside DPO: what each learns, its variants, resuming, bad input."""

import importlib
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from accord.core.errors import ConfigError, DataError
from accord.core.files import write_jsonl
from accord.core.run_dir import RunDir
from accord.corpora.encoding import ChatEncoder
from accord.corpora.opinions import load_opinions
from accord.models.loading import load_tokenizer
from accord.stages.policy_training.kto.run import Opinions
from accord.wiring import stage_config

METHODS = ["dpo", "simpo", "orpo", "kto"]
LOSSES = ["sigmoid", "robust", "ipo", "hinge", "apo_zero", "apo_down"]


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


def run(method: str, model: Path, data: Path, out: Path, **values: Any) -> Any:
    source = {"dataset_name": str(data)} if method == "kto" else {"comparisons": str(data)}
    defaults = {
        "model_name_or_path": str(model), **source, "learning_rate": 5e-3, "max_steps": 20,
        "per_device_train_batch_size": 16, "eval_steps": 10, "eval_fraction": 0.2,
    }  # fmt: skip
    config = stage_config(method).parse({**defaults, **values}, where="test")
    stage = importlib.import_module(f"accord.stages.policy_training.{method}.run")
    return stage.run(config, RunDir(out))


def last(out: Path) -> dict[str, float]:
    return RunDir(out).metrics()[-1]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("use_peft", [False, True])
def test_it_learns_what_was_preferred(
    method: str, tiny_model_dir: Path, pairs: Path, tmp_path: Path, use_peft: bool
) -> None:
    lora = {"use_peft": True, "lora_r": 4, "learning_rate": 2e-2} if use_peft else {}
    result = run(method, tiny_model_dir, pairs, tmp_path / "out", **lora)
    if method == "kto":
        assert result.heldout_margin > 0.05
        assert result.desirable == result.undesirable
    else:
        assert result.heldout_accuracy > 0.95
    assert not (result.model / "adapter_config.json").exists()


@pytest.mark.parametrize("loss_type", LOSSES)
def test_every_loss_ranks_the_pairs(
    loss_type: str, tiny_model_dir: Path, pairs: Path, tmp_path: Path
) -> None:
    result = run(
        "dpo", tiny_model_dir, pairs, tmp_path / "out", loss_type=loss_type, label_smoothing=0.1
    )
    assert result.heldout_accuracy > 0.9


def test_ipo_s_margin_tends_to_its_optimum(tiny_model_dir: Path, tmp_path: Path) -> None:
    """The log-ratios' difference to 1 / (2 beta); the reward is beta times it: 1/2."""
    path = tmp_path / "one.jsonl"
    write_jsonl(path, [{"prompt": "user asks", "chosen": "know", "rejected": "said"}] * 16)
    run(
        "dpo", tiny_model_dir, path, tmp_path / "out", loss_type="ipo", beta=0.3, max_steps=60,
        eval_comparisons=str(path), learning_rate=2e-3, warmup_steps=1,
    )  # fmt: skip
    assert last(tmp_path / "out")["validation/reward/margin"] == pytest.approx(0.5, abs=0.05)


def test_orpo_raises_the_likelihood_of_the_chosen(
    tiny_model_dir: Path, pairs: Path, tmp_path: Path
) -> None:
    """Where SimPO only has to spread the two sides apart."""
    run("orpo", tiny_model_dir, pairs, tmp_path / "out", max_steps=30)
    history = RunDir(tmp_path / "out").metrics()
    assert history[-1]["logps/chosen"] > history[0]["logps/chosen"] + 2


def test_variants_read_other_numbers(tiny_model_dir: Path, pairs: Path, tmp_path: Path) -> None:
    """With means and with tokens left out, one step's figures differ from plain DPO's."""
    found = {}
    for name, values in {
        "plain": {},
        "mean": {"length_normalized": True},
        "desensitised": {"ld_alpha": 0.0},
    }.items():
        run("dpo", tiny_model_dir, pairs, tmp_path / name, max_steps=2, eval_steps=2, **values)
        found[name] = last(tmp_path / name)
    assert found["mean"]["logps/chosen"] > 0.5 * found["plain"]["logps/chosen"]
    assert found["desensitised"]["logps/chosen"] > found["plain"]["logps/chosen"]
    assert len({row["loss"] for row in found.values()}) == 3


def test_kto_s_reference_point_is_the_same_however_the_batch_is_split(
    tiny_model_dir: Path, pairs: Path, tmp_path: Path
) -> None:
    for name, budget in (("one", 8192), ("each", 1)):
        run(
            "kto", tiny_model_dir, pairs, tmp_path / name, max_steps=3, eval_steps=3,
            tokens_per_micro_batch=budget,
        )  # fmt: skip
    for one, many in zip(
        RunDir(tmp_path / "one").metrics(), RunDir(tmp_path / "each").metrics(), strict=True
    ):
        assert one == pytest.approx(many, rel=1e-3, abs=1e-4)


def test_kto_reads_labels(tiny_model_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "labelled.jsonl"
    labelled = [
        {"prompt": f"user asks {i}", "completion": word, "label": word == "know"}
        for i in range(40)
        for word in ("know", "said")
        if word == "know" or i % 2
    ]
    write_jsonl(path, labelled)
    result = run("kto", tiny_model_dir, path, tmp_path / "out", undesirable_weight=2.0)
    assert result.desirable > result.undesirable > 0
    assert result.heldout_margin > 0.1


def test_kto_s_reference_point_is_of_both_kinds(tiny_model_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    pairs = [
        {"prompt": f"user asks {i}", "chosen": f"know {i}", "rejected": f"said {i}"}
        for i in range(40)
    ]
    write_jsonl(path, pairs)
    encoder = ChatEncoder(load_tokenizer(str(tiny_model_dir)))
    opinions = Opinions.encode(load_opinions(str(path)), encoder, max_length=64)
    own = {row.response_ids: i for i, row in enumerate(opinions.rows)}
    donors = [own[row.response_ids] for row in opinions.mismatched]
    for row, other in zip(opinions.rows, opinions.mismatched, strict=True):
        assert row.prompt_ids == other.prompt_ids
    assert all(donor // 2 != i // 2 for i, donor in enumerate(donors))
    assert 0.3 < opinions.is_desirable[donors].float().mean() < 0.7


def test_kto_refuses_to_hold_nothing_out(tiny_model_dir: Path, pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="0 held out"):
        run("kto", tiny_model_dir, pairs, tmp_path / "out", eval_fraction=1e-9)


def test_pairs_are_two_opinions(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    pair = {"prompt": "q", "chosen": "a", "rejected": "b"}
    write_jsonl(path, [pair, {**pair, "p_chosen": 0.2}, {**pair, "p_chosen": 0.5}])
    found = [(o.completion, o.is_desirable) for o in load_opinions(str(path))]
    assert found == [("a", True), ("b", False), ("a", False), ("b", True)]


@pytest.mark.parametrize("method", METHODS)
def test_resumed_is_unbroken_bit_for_bit(
    method: str,
    tiny_model_dir: Path,
    pairs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = {"max_steps": 4, "eval_steps": 2, "save_steps": 2}
    unbroken = run(method, tiny_model_dir, pairs, tmp_path / "unbroken", **values)
    log = RunDir.log

    def killed(self: RunDir, step: int, metrics: dict[str, float]) -> None:
        log(self, step, metrics)
        if step == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunDir, "log", killed)
        with pytest.raises(KeyboardInterrupt):
            run(method, tiny_model_dir, pairs, tmp_path / "broken", **values)
    torch.manual_seed(4321)
    resumed = run(method, tiny_model_dir, pairs, tmp_path / "broken", **values)
    assert RunDir(tmp_path / "broken").metrics() == RunDir(tmp_path / "unbroken").metrics()
    weights = [load_file(r.model / "model.safetensors") for r in (resumed, unbroken)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "q", "completion": "a"}, "row 81: expected a column 'label'.*got None"),
        ({"prompt": "q", "completion": "a", "label": "yes"}, "row 81: .*got 'yes'"),
        ({"prompt": "q", "completion": "", "label": True}, "row 81: the response is empty"),
        ({"prompt": "q", "completion": "a " * 90, "label": True}, "row 81: .*max_length"),
    ],
)
def test_bad_labels_are_refused(
    tiny_model_dir: Path, pairs: Path, tmp_path: Path, row: dict[str, Any], message: str
) -> None:
    write_jsonl(pairs, [*rows(), row])
    with pytest.raises(DataError, match=message):
        run("kto", tiny_model_dir, pairs, tmp_path / "out", max_length=60)


def test_bad_settings_are_refused(tiny_model_dir: Path, pairs: Path, tmp_path: Path) -> None:
    for method, values, message in [
        ("dpo", {"loss_type": "sigmod"}, "loss_type"),
        ("dpo", {"label_smoothing": 0.5}, "label_smoothing"),
        ("simpo", {"gamma": -1.0}, "gamma"),
        ("kto", {"beta": 0.0}, "beta"),
    ]:
        with pytest.raises(ConfigError, match=message):
            run(method, tiny_model_dir, pairs, tmp_path / "out", **values)
    write_jsonl(pairs, rows()[:1])
    with pytest.raises(DataError, match="0 labelled responses to train on"):
        run("kto", tiny_model_dir, pairs, tmp_path / "out")


def test_losses_start_where_they_should(tiny_model_dir: Path, pairs: Path, tmp_path: Path) -> None:
    """At the reference every implicit reward is 0."""
    for loss_type, expected in [
        ("sigmoid", math.log(2)), ("hinge", 1.0), ("ipo", 25.0), ("apo_zero", 1.0),
    ]:  # fmt: skip
        out = tmp_path / loss_type
        run("dpo", tiny_model_dir, pairs, out, loss_type=loss_type, max_steps=1)
        assert RunDir(out).metrics()[0]["loss"] == pytest.approx(expected, rel=1e-4)
    run("kto", tiny_model_dir, pairs, tmp_path / "kto", max_steps=1)
    assert RunDir(tmp_path / "kto").metrics()[0]["loss"] == pytest.approx(0.5, abs=1e-4)
