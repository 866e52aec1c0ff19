"""Model cards: what they say, that they say it again, and what they keep to themselves."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard

import accord
from accord.core.files import hash_path
from accord.core.run_dir import RunDir
from accord.publishing.model_card import model_card, read_front_matter
from accord.stages.sft.config import Config

ROWS = [{"prompt": f"user asks {i}", "completion": "know"} for i in range(40)]
PAIRS = [{"prompt": f"user asks {i}", "chosen": "know", "rejected": "said"} for i in range(40)]
SMALL: dict[str, Any] = {"max_steps": 2, "max_length": 64, "eval_fraction": 0.3}


def front(text: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(text.split("---\n")[1])
    return found


def test_the_card_of_a_policy(tiny_model_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    found = accord.sft(tiny_model_dir, ROWS, output_dir=out, use_peft=True, **SMALL)
    text = (found.model_path / "README.md").read_text()
    assert front(text) == {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["accord", "sft", "lora"],
    }
    # The hub's own reader takes it.
    assert ModelCard.load(found.model_path / "README.md").data.pipeline_tag == "text-generation"
    data = json.loads((out / "manifest.json").read_text())["inputs"]["dataset_name"][0]
    assert f"| dataset_name | (local) | {data['sha256']} |" in text
    assert f"| validation_loss | {found.result['validation_loss']:.6g} |" in text
    for row in ("| max_steps | 2 |", "| learning_rate | ", f"| accord | {accord.__version__} |"):
        assert row in text
    assert "| eval_steps" not in text  # a default that nobody asks for
    for private in (str(tmp_path), tiny_model_dir.name, "manifest", "started_at", "wall_s"):
        assert private not in text


def test_equal_inputs_give_equal_bytes(tiny_model_dir: Path, tmp_path: Path) -> None:
    """Also from other places, and a model directory's hash with them: later steps read it."""
    first = accord.sft(tiny_model_dir, ROWS, output_dir=tmp_path / "a" / "run", **SMALL)
    moved = shutil.copytree(tiny_model_dir, tmp_path / "moved")
    again = accord.sft(moved, ROWS, output_dir=tmp_path / "b" / "run", **SMALL)
    assert hash_path(first.model_path) == hash_path(again.model_path)
    other = accord.sft(moved, ROWS, output_dir=tmp_path / "c" / "run", **SMALL, seed=1)
    texts = [(run.model_path / "README.md").read_text() for run in (first, other)]
    assert texts[0] != texts[1]


def test_the_card_of_a_reward_model(tiny_model_dir: Path, tmp_path: Path) -> None:
    found = accord.reward(tiny_model_dir, PAIRS, output_dir=tmp_path / "run", **SMALL)
    text = (found.model_path / "README.md").read_text()
    assert front(text)["pipeline_tag"] == "text-classification"
    assert front(text)["tags"] == ["accord", "reward", "reward-model"]
    assert "| heldout_accuracy | " in text and "AutoModelForSequenceClassification" in text


def card(tiny_model_dir: Path, model: str, digest: str | None, dataset: str) -> str:
    config = Config.parse(
        {"model_name_or_path": model, "dataset_name": [dataset], "eval_dataset_name": "me/held:x"},
        where="test",
    )
    manifest = {
        "stage": "sft",
        "versions": {"accord": "1"},
        "inputs": {
            "model_name_or_path": [{"value": model, "sha256": digest}],
            "dataset_name": [{"value": dataset, "sha256": None}],
            "eval_dataset_name": [{"value": "me/held:x", "sha256": None}],
        },
    }
    return model_card(tiny_model_dir, manifest, config, {"loss": 1.0})


def test_hub_names_are_told_and_followed(tiny_model_dir: Path, tmp_path: Path) -> None:
    text = card(tiny_model_dir, "org/base", None, "me/rows@part:train")
    assert front(text)["base_model"] == "org/base"
    assert front(text)["datasets"] == ["me/held", "me/rows"]
    assert "It started from `org/base`." in text
    # The next stage starts from that model's directory, and still goes back to the hub's.
    (tmp_path / "README.md").write_text(text)
    text = card(tiny_model_dir, str(tmp_path), "0" * 64, "me/rows")
    assert front(text)["base_model"] == "org/base"
    assert str(tmp_path) not in text and "goes back to `org/base`" in text


def test_the_embedded_model_goes_by_its_name(tiny_model_dir: Path) -> None:
    text = card(tiny_model_dir, "accord:base", "0" * 64, "me/rows")
    assert "It started from `accord:base`." in text
    assert "base_model" not in front(text)


@pytest.mark.parametrize("text", ["", "---\n", "---\n: [\n---\n", "---\njust words\n---\n", "# A"])
def test_any_card_of_others_is_survived(tmp_path: Path, text: str) -> None:
    (tmp_path / "README.md").write_text(text)
    assert read_front_matter(tmp_path) == {}
    assert read_front_matter(tmp_path / "absent") == {}


def test_a_stage_without_a_model_gets_no_card(tiny_model_dir: Path, tmp_path: Path) -> None:
    prompts = [{"prompt": "user asks"}, {"prompt": "system said"}]
    found = accord.best_of_n(
        tiny_model_dir, prompts, reward_funcs=[lambda completions, **_: [0.0] * len(completions)],
        output_dir=tmp_path / "run", num_generations=2, max_length=64, max_completion_length=4,
    )  # fmt: skip
    assert not RunDir(found.path).model_path.exists()
