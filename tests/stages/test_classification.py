"""The classifier stage: kinds of labels, what is learned, and that what is saved says the same."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from accord.annotation.classification import macro_f1
from accord.core.errors import ConfigError, DataError, ModelError
from accord.core.files import write_jsonl
from accord.core.run_dir import RunDir
from accord.corpora.encoding import ChatEncoder
from accord.corpora.labelled import encode_labelled, label_names, load_labelled
from accord.models.classifiers import ClassifierFormat
from accord.models.loading import load_tokenizer
from accord.rewards.classifier import Classifier, ClassifierReward
from accord.stages.classification import run as classification
from accord.stages.classification.config import Config
from accord.stages.classification.figures import class_weights, tfidf_probabilities

CPU = torch.device("cpu")
WORDS = {"rude": "said", "kind": "know", "plain": "user"}


def class_rows(count: int = 90) -> list[dict[str, Any]]:
    names = list(WORDS)
    return [
        {"text": f"{i} {WORDS[names[i % 3]]} {i % 7}", "label": names[i % 3]} for i in range(count)
    ]


def label_rows(count: int = 90) -> list[dict[str, Any]]:
    return [
        {
            "prompt": f"asks {i}",
            "completion": f"{'said' if i % 2 else 'is'} {i} {'know' if i % 3 else 'can'}",
            "label": {"rude": i % 2, "kind": bool(i % 3)},
        }
        for i in range(count)
    ]


def run(model: Path, rows: list[dict[str, Any]], out: Path, **values: Any) -> classification.Result:
    out.mkdir(parents=True, exist_ok=True)
    write_jsonl(out / "rows.jsonl", rows)
    fields = {
        "model_name_or_path": str(model), "dataset_name": [str(out / "rows.jsonl")],
        "learning_rate": 5e-3, "max_steps": 40, "eval_steps": 20, "eval_fraction": 0.3,
    }  # fmt: skip
    config = Config.parse({**fields, **values}, where="test")
    return classification.run(config, RunDir(out / "run"))


@pytest.fixture(scope="module")
def classes(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("classes")
    return run(tiny_model_dir, class_rows(), folder, subgroup_terms=["3", "absent"])


def test_classes_are_learned(classes: Any) -> None:
    assert classes.labels == ("kind", "plain", "rude")
    assert classes.accuracy > 0.95 and classes.macro_f1 > 0.95 and classes.auroc > 0.98
    assert classes.tfidf["accuracy"] > 0.9 and classes.balanced["macro_f1"] > 0.95
    assert classes.measured_on == "validation"
    assert classes.by_label["rude"]["fpr_at_95_tpr"] < 0.1
    temperatures = set(classes.calibration["temperatures"].values())
    assert len(temperatures) == 1 and temperatures != {1.0}
    assert classes.subgroups["3"]["rude"]["rows"] > 0
    assert math.isnan(classes.subgroups["absent"]["rude"]["subgroup"])


def test_what_is_saved_says_the_same(classes: Any, tiny_model_dir: Path) -> None:
    classifier = Classifier(str(classes.model), device=CPU, max_length=64)
    texts = [f"200 {word} 1" for word in WORDS.values()]
    given = classifier.probabilities([()] * 3, texts)
    assert given.sum(-1).tolist() == pytest.approx([1.0] * 3)
    said = [classifier.labels[k] for k in given.argmax(-1).tolist()]
    assert said == list(WORDS)
    # The library reads the same logits, and knows the labels.
    model = AutoModelForSequenceClassification.from_pretrained(classes.model)
    assert model.config.id2label == {0: "kind", 1: "plain", 2: "rude"}
    encoder = ChatEncoder(load_tokenizer(str(classes.model)))
    ids = torch.tensor([encoder.encode_response(texts[0])])
    with torch.no_grad():
        logits = model(ids).logits.double()
    expected = classifier.form.probabilities(logits)
    assert given[0].tolist() == pytest.approx(expected[0].tolist(), abs=1e-5)


def test_labels_that_do_not_exclude_each_other(tiny_model_dir: Path, tmp_path: Path) -> None:
    found = run(tiny_model_dir, label_rows(), tmp_path, max_steps=80)
    assert found.labels == ("kind", "rude")
    assert found.accuracy > 0.9 and min(f["auroc"] for f in found.by_label.values()) > 0.95
    classifier = Classifier(str(found.model), device=CPU, max_length=64)
    reward = ClassifierReward(classifier, "rude", is_unwanted=True)
    none: Any = [[]] * 2
    prompts: Any = [[{"role": "user", "content": "asks 500"}]] * 2
    scores = reward.score(
        prompts, ["said 1 can", "is 1 know"], prompt_ids=none, response_ids=none, columns=none
    )
    assert scores.values[0] < 0.5 < scores.values[1]
    assert scores.values[0] == pytest.approx(1 - scores.parts["rude"][0])
    with pytest.raises(ConfigError, match="did you mean 'rude'"):
        ClassifierReward(classifier, "rud")


def test_one_label_and_separate_test_rows(tiny_model_dir: Path, tmp_path: Path) -> None:
    rows = [{"text": row["completion"], "label": row["label"]["rude"]} for row in label_rows()]
    write_jsonl(tmp_path / "test.jsonl", rows[:20])
    found = run(tiny_model_dir, rows[20:], tmp_path, test_dataset_name=str(tmp_path / "test.jsonl"))
    assert found.measured_on == "test" and found.heldout_rows == 20
    assert found.labels == ("label",) and found.accuracy > 0.9
    form = ClassifierFormat.load(found.model)
    assert form is not None and not form.exclusive
    given = Classifier(str(found.model), device=CPU, max_length=64).probabilities([()], ["said 1"])
    assert given.shape == (1, 1) and given.item() > 0.5


def test_temperatures_are_those_of_the_validation_rows() -> None:
    form = ClassifierFormat(labels=("a",), exclusive=False, temperatures=(1.0,))
    generator = torch.Generator().manual_seed(0)
    logits = 6 * torch.randn(4000, 1, generator=generator)
    truth = torch.rand(4000, 1, generator=generator) < (logits / 3).sigmoid()
    fitted = classification._calibrated(form, logits, truth.double())
    assert fitted.temperatures[0] == pytest.approx(3.0, rel=0.1)


def test_a_resumed_run_ends_alike(
    tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"max_steps": 12, "eval_steps": 4, "save_steps": 4}
    whole = run(tiny_model_dir, class_rows(), tmp_path / "whole", **values)

    class Killed(Exception):
        pass

    real, calls = classification._measure, []

    def dies(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 11:
            raise Killed
        return real(*arguments)

    monkeypatch.setattr(classification, "_measure", dies)
    with pytest.raises(Killed):
        run(tiny_model_dir, class_rows(), tmp_path / "cut", **values)
    monkeypatch.setattr(classification, "_measure", real)
    resumed = run(tiny_model_dir, class_rows(), tmp_path / "cut", **values)
    assert resumed.heldout_loss == whole.heldout_loss


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"label": "x"}, "expected a text in column 'text' or 'completion'"),
        ({"text": " ", "label": "x"}, "expected a text"),
        ({"text": "a"}, "expected as label"),
        ({"text": "a", "label": 2}, "expected as label"),
        ({"text": "a", "label": {"x": "yes"}}, "expected as label"),
        ({"text": "a", "label": {}}, "expected as label"),
        ({"text": "a", "label": True}, "row 2: its label is of another kind than that of .*row 1"),
    ],
)
def test_bad_rows_are_named(row: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write_jsonl(path, [{"text": "a", "label": "class"}, row])
    with pytest.raises(DataError, match=message) as caught:
        load_labelled([str(path)])
    assert "row 2" in str(caught.value)


def test_all_rows_on_one_side(tiny_model_dir: Path, tmp_path: Path) -> None:
    rows = [{"text": "the same", "label": "a"}, {"text": "the same", "label": "b"}]
    with pytest.raises(DataError, match="too few to hold some out"):
        run(tiny_model_dir, rows, tmp_path)


def test_long_texts_lose_their_end_and_prompts_their_start(tiny_model_dir: Path) -> None:
    encoder = ChatEncoder(load_tokenizer(str(tiny_model_dir)))
    prompt: Any = [{"role": "user", "content": "user asks " * 5}]
    whole = encode_labelled(prompt, "answers", encoder, max_length=200)
    assert whole.cut == 0 and whole.response_ids == encoder.encode_response("answers")
    cut = encode_labelled(prompt, "answers", encoder, max_length=10)
    assert len(cut) == 10 and cut.cut == len(whole) - 10
    assert cut.input_ids == whole.input_ids[-10:]
    long = encode_labelled(prompt, "said " * 50, encoder, max_length=10)
    ids = encoder.encode_response("said " * 50)
    assert long.input_ids == (*ids[:9], encoder.end_of_turn_id)
    assert encode_labelled((), "answers", encoder, max_length=99).prompt_ids == ()


def test_parquet_of_label_names(tmp_path: Path) -> None:
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    table = arrow.Table.from_pylist([{"text": "a", "label": {"x": 1, "y": 0}}])
    parquet.write_table(table, tmp_path / "rows.parquet")
    rows = load_labelled([str(tmp_path / "rows.parquet")])
    assert label_names(rows) == ("x", "y") and rows[0].labels == {"x": 1.0, "y": 0.0}


def test_what_is_saved_names_classes_as_readily_as_was_measured(
    classes: Any, tmp_path: Path
) -> None:
    classifier = Classifier(str(classes.model), device=CPU, max_length=64)
    rows = class_rows()[:30]
    said = classifier.classify([()] * len(rows), [row["text"] for row in rows])
    assert sum(a == row["label"] for a, row in zip(said, rows, strict=True)) >= 28
    # Of a class that weighs nearly nothing every text is one.
    weights = tuple(1e-9 if name == "plain" else 1.0 for name in classifier.labels)
    classifier.form = classifier.form.model_copy(update={"weights": weights})
    assert set(classifier.classify([()] * 5, ["a b c"] * 5)) == {"plain"}


def test_a_reward_model_is_no_classifier(tiny_model_dir: Path) -> None:
    with pytest.raises(ModelError, match="has no classifier.json"):
        Classifier(str(tiny_model_dir), device=CPU, max_length=64)


def test_a_rare_class_is_named_where_that_pays() -> None:
    """One in ten is rare; its p is known exactly and seldom above 1/2."""
    rng = np.random.default_rng(0)
    p = rng.choice([0.02, 0.4], size=4000, p=[0.8, 0.2])
    given = np.stack([1 - p, p], axis=-1)
    truth = np.eye(2)[(rng.random(4000) < p).astype(int)]
    balance, weights = class_weights(given, truth)
    said, right = (given / weights).argmax(-1), truth.argmax(-1)
    assert 0 < balance < 1 and weights[0] > weights[1] > 0
    assert macro_f1(said, right, classes=2) > 0.65
    assert (said == right).mean() < truth[:, 0].mean()


def test_tfidf_of_labels_without_variation() -> None:
    texts = ["bad cat", "big cat", "bad cat", "big cat"]
    wanted = np.array([[1, 0], [0, 0], [1, 0], [0, 0]], dtype=float)
    found = tfidf_probabilities(texts, wanted, ["bad cat"], exclusive=False)
    assert found[0, 0] > 0.5 and found[0, 1] == 0.0
