"""Pre-training: what it learns, that documents stay apart, that it resumes, what it refuses."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from accord.core.device import default_device
from accord.core.errors import CheckpointError, ConfigError, DataError
from accord.core.files import write_jsonl
from accord.core.run_dir import RunDir
from accord.corpora.packing import pack
from accord.models.loading import load_policy
from accord.stages.pretraining import run as pretraining
from accord.stages.pretraining.config import Config


class Killed(Exception):
    """Stands in for a kill: nothing after it runs."""


def config(*data: Path, **values: Any) -> Config:
    defaults = {
        "dataset_name": [str(path) for path in data], "vocab_size": 300, "hidden_size": 32,
        "num_hidden_layers": 1, "num_attention_heads": 2, "max_length": 32, "warmup_steps": 2,
        "per_device_train_batch_size": 4, "max_steps": 6, "eval_steps": 2, "save_steps": 2,
        "eval_fraction": 0.1,
    }  # fmt: skip
    return Config.parse({**defaults, **values}, where="test")


def run(data: Path, out: Path, **values: Any) -> pretraining.Result:
    return pretraining.run(config(data, **values), RunDir(out))


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.jsonl"
    write_jsonl(path, ({"text": f"user asks {i} and the assistant says {i}"} for i in range(80)))
    return path


def test_it_learns_a_repeating_text(tmp_path: Path) -> None:
    """All but each text's end is certain; untrained, a token costs about ln 300 = 5.7 nats."""
    path = tmp_path / "repeating.jsonl"
    write_jsonl(path, [{"text": "one two three four " * 12}] * 80)
    result = run(
        path, tmp_path / "out", max_steps=60, eval_steps=60, learning_rate=2e-2, max_length=64,
    )  # fmt: skip
    assert RunDir(tmp_path / "out").metrics()[0]["loss"] > 5
    assert result.validation_loss < 0.1
    model = AutoModelForCausalLM.from_pretrained(result.model, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(result.model)
    start = tokenizer("one two three", return_tensors="pt").input_ids
    said = model.generate(
        start, attention_mask=torch.ones_like(start), max_new_tokens=8, do_sample=False
    )
    assert tokenizer.decode(said[0]).startswith("one two three four one two")


def test_packed_documents_do_not_see_each_other(tiny_model_dir: Path, tmp_path: Path) -> None:
    """The loss of a packed row is the token-weighted mean of its documents' own losses."""
    model = load_policy(str(tiny_model_dir), device=default_device())
    documents = [[7, 8, 9, 10, 11, 12], [20, 21, 7, 8], [9, 10, 11, 30, 31, 32, 33, 34]]
    chosen = config(tmp_path)

    def nats(packed: list[list[int]]) -> float:
        row = pack(packed, length=sum(map(len, packed)))
        return pretraining.validation_loss(model, row, chosen) * int((row[1] > 0).sum())

    apart = sum(nats([document]) for document in documents)
    assert nats(documents) == pytest.approx(apart, abs=1e-4)
    # The same tokens as one document: each then has more context, and other losses.
    assert abs(nats([[*documents[0], *documents[1], *documents[2]]]) - apart) > 1e-2


def test_validation_loss_is_a_mean_over_tokens(tiny_model_dir: Path, tmp_path: Path) -> None:
    """Rows with unequally many predicted tokens weigh unequally, however they are batched."""
    model = load_policy(str(tiny_model_dir), device=default_device())
    ids = np.arange(10, 26, dtype=np.int32).reshape(2, 8)
    positions = np.array([[0, 1, 2, 3, 4, 5, 6, 7], [0, 0, 0, 0, 0, 0, 0, 1]], dtype=np.int32)
    one, many = (config(tmp_path, per_device_train_batch_size=size) for size in (1, 2))
    rows = [pretraining.validation_loss(model, (ids[[i]], positions[[i]]), one) for i in (0, 1)]
    for chosen in (one, many):
        loss = pretraining.validation_loss(model, (ids, positions), chosen)
        assert loss == pytest.approx((7 * rows[0] + rows[1]) / 8, abs=1e-5)


def test_resumed_is_unbroken_bit_for_bit(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From scratch: the tokenizer, the fresh weights and the copied spans come back, too."""
    unbroken = run(texts, tmp_path / "unbroken", copy_fraction=0.5)
    log = RunDir.log

    def killed(self: RunDir, step: int, metrics: dict[str, float]) -> None:
        log(self, step, metrics)
        if step == 5:  # the checkpoint of step 4 is on disk, step 5 is done and logged
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(RunDir, "log", killed)
        with pytest.raises(Killed):
            run(texts, tmp_path / "broken", copy_fraction=0.5)
    torch.manual_seed(4321)
    resumed = run(texts, tmp_path / "broken", copy_fraction=0.5)
    assert RunDir(tmp_path / "broken").metrics() == RunDir(tmp_path / "unbroken").metrics()
    for name in ("model.safetensors", "tokenizer.json"):
        assert (resumed.model / name).read_bytes() == (unbroken.model / name).read_bytes()
    assert resumed.validation_loss == unbroken.validation_loss


def test_the_result_speaks_of_the_saved_weights(texts: Path, tmp_path: Path) -> None:
    """They are rounded to bfloat16, so the last logged loss is near theirs and no more."""
    result = run(texts, tmp_path / "out")
    chosen = config(texts)
    encoder = pretraining.ChatEncoder(AutoTokenizer.from_pretrained(result.model))
    held_out = pretraining._pack(pretraining._read_documents(chosen)[1], encoder, chosen)
    saved = load_policy(str(result.model), device=default_device())
    loss = pretraining.validation_loss(saved, held_out, chosen)
    assert result.validation_loss == pytest.approx(loss, abs=1e-6)
    assert result.validation_tokens == held_out[0].size
    assert result.train_tokens == 6 * 4 * 32
    assert result.parameters == sum(p.numel() for p in saved.parameters())


def test_it_goes_on_from_a_model(tiny_model_dir: Path, texts: Path, tmp_path: Path) -> None:
    """One step at a tiny rate: the weights are the model's own, up to bfloat16."""
    result = run(
        texts, tmp_path / "out", model_name_or_path=str(tiny_model_dir), max_steps=1,
        learning_rate=1e-6, muon_learning_rate=1e-6,
    )  # fmt: skip
    vocabularies = [
        AutoTokenizer.from_pretrained(path).get_vocab() for path in (tiny_model_dir, result.model)
    ]
    assert vocabularies[0] == vocabularies[1]
    weights = [
        AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).state_dict()
        for path in (tiny_model_dir, result.model)
    ]
    torch.testing.assert_close(weights[1], weights[0], atol=1e-3, rtol=1e-2)


def test_held_out_documents_are_not_trained_on(tmp_path: Path) -> None:
    """Also not under repetition; every document is on one side."""
    paths = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    for path in paths:
        write_jsonl(path, ({"text": f"{path.stem} {i} <|end|>"} for i in range(50)))
    chosen = config(*paths, repeats=[1, 3], eval_fraction=0.3, remove_strings=["<|end|>"])
    train, held_out = pretraining._read_documents(chosen)
    assert not set(train) & set(held_out)
    assert set(train) | set(held_out) == {f"{name} {i}" for name in "ab" for i in range(50)}
    assert {train.count(text) for text in train if str(text).startswith("a")} == {1}
    assert {train.count(text) for text in train if str(text).startswith("b")} == {3}
    assert 10 < len(held_out) == len(set(held_out)) < 50


def test_some_rows_are_doubled_span_by_span(tmp_path: Path) -> None:
    chosen = config(tmp_path, copy_fraction=0.5)
    ids = torch.arange(4 * 200).view(4, 200)
    positions = torch.arange(200).repeat(4, 1) % 50  # four documents a row
    copied, places = pretraining._with_copies((ids.clone(), positions.clone()), 3, chosen)
    for row in (0, 1):
        spans = [s for s in range(8, 65) if torch.equal(copied[row, :s], copied[row, s : 2 * s])]
        assert len(spans) == 1
        span = copied[row, : spans[0]]
        assert torch.equal(span.sort().values, ids[row, : spans[0]])
        assert torch.equal(span, ids[row, : spans[0]]) == (row == 0)  # the other is shuffled
        assert torch.equal(places[row], torch.arange(200))  # one document
    assert torch.equal(copied[2:], ids[2:])
    assert torch.equal(places[2:], positions[2:])


@pytest.mark.parametrize(
    ("count", "values"),
    [
        (3, {}),  # fewer rows than a batch
        (80, {"eval_fraction": 1e-6}),  # nothing held out
        (80, {"max_length": 4000}),
        (80, {"max_steps": -1, "num_train_epochs": 0.001}),  # not one step
    ],
)
def test_too_little_text_is_refused(tmp_path: Path, count: int, values: dict[str, Any]) -> None:
    path = tmp_path / "little.jsonl"
    write_jsonl(path, ({"text": f"user asks {i}"} for i in range(count)))
    with pytest.raises(DataError, match="too little text: .*add data"):
        run(path, tmp_path / "out", **values)


def test_bad_input(texts: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        run(tmp_path / "none.jsonl", tmp_path / "out")
    with pytest.raises(ConfigError, match="repeats has 2 entries for 1 data sources"):
        run(texts, tmp_path / "out", repeats=[1, 2])
    write_jsonl(texts, [{"text": "user"}, {"txt": "asks"}])
    with pytest.raises(DataError, match=r"texts\.jsonl, row 2: no column 'prompt'"):
        run(texts, tmp_path / "out")


def test_a_checkpoint_cut_short_is_refused(texts: Path, tmp_path: Path) -> None:
    run(texts, tmp_path / "out")
    state = tmp_path / "out/checkpoint-4/state.pt"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="cut short or damaged"):
        run(texts, tmp_path / "out")
