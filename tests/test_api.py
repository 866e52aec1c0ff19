"""The stages as functions on Python objects."""

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from transformers import AutoModelForCausalLM

import accord
from accord.core.errors import AccordError, ConfigError, DataError
from accord.models.loading import load_tokenizer

DEMONSTRATIONS = [{"prompt": f"user asks {i}", "completion": "know"} for i in range(40)]
PAIRS = [{"prompt": f"user asks {i}", "chosen": "know", "rejected": "said"} for i in range(40)]
PROMPTS = [{"prompt": f"user asks {i}", "topic": i % 2} for i in range(16)]
SMALL: dict[str, Any] = {
    "per_device_train_batch_size": 8, "max_length": 64, "learning_rate": 5e-3, "max_steps": 4,
}  # fmt: skip
ONLINE: dict[str, Any] = {**SMALL, "max_completion_length": 4, "max_eval_prompts": 4}


def prefer_short(completions: list[Any], topic: list[int], **_: Any) -> list[float]:
    assert len(topic) == len(completions)
    return [-float(len(c)) for c in completions]


def prefer_long(completions: list[Any], weight: float, **_: Any) -> list[float]:
    return [weight * len(c) for c in completions]


def test_from_one_stage_to_the_next(tiny_model_dir: Path) -> None:
    sft = accord.sft(str(tiny_model_dir), DEMONSTRATIONS, eval_fraction=0.2, **SMALL)
    assert sft.result["validation_loss"] < 6 and len(sft.metrics) == 5
    reward = accord.reward(sft, Dataset.from_list(PAIRS), eval_fraction=0.3, **SMALL)
    assert reward.model.config.num_labels == 1
    ppo = accord.ppo(
        sft, PROMPTS, reward_model=reward, reward_funcs=[prefer_short], mini_batch_size=8, **ONLINE
    )
    assert ppo.result["updates"] == 4
    prompt = sft.tokenizer("user", return_tensors="pt")
    assert ppo.model.generate(**prompt, max_new_tokens=2).shape[1] > prompt["input_ids"].shape[1]
    assert "heldout_score_after" in repr(ppo)


def test_prompts_and_functions_as_they_come(tiny_model_dir: Path) -> None:
    """Texts and conversations are prompts; whatever can be called is a function."""

    class Constant:
        def __call__(self, completions: list[Any], **_: Any) -> list[float]:
            return [0.5] * len(completions)

    prompts = [*(f"user asks {i}" for i in range(8)), [{"role": "user", "content": "assistant"}]]
    functions = [
        partial(prefer_long, weight=0.5), Constant(),
        lambda completions, **_: [0.0] * len(completions),
        lambda completions, **_: [1.0] * len(completions),
    ]  # fmt: skip
    found = accord.grpo(
        tiny_model_dir, prompts[:8], eval_dataset=prompts[8:], reward_funcs=functions,
        num_generations=2, **{**ONLINE, "max_steps": 1},
    )  # fmt: skip
    parts = [key for key in found.metrics[1] if key.startswith("score/") and "<lambda>" in key]
    assert len(parts) == 2 and found.metrics[1][min(parts)] != found.metrics[1][max(parts)]
    with pytest.raises(ConfigError, match="named twice"):
        accord.grpo(tiny_model_dir, prompts, reward_funcs=[prefer_short] * 2, **ONLINE)
    with pytest.raises(DataError, match="dataset_name, row 2: expected a mapping .* got 'text'"):
        accord.sft(tiny_model_dir, [DEMONSTRATIONS[0], "text"], **SMALL)


def test_a_function_is_known_by_its_source(tiny_model_dir: Path, tmp_path: Path) -> None:
    """A name does not tell two lambdas apart: a finished run of the other is not taken for it."""
    values = {**ONLINE, "max_steps": 1, "num_generations": 2, "output_dir": tmp_path / "run"}
    one, other = (
        lambda completions, **_: [1.0] * len(completions),
        lambda completions, **_: [2.0] * len(completions),
    )
    found = accord.rloo(tiny_model_dir, PROMPTS, reward_funcs=[one], **values)
    with pytest.raises(AccordError, match="another source of python:.*<lambda>"):
        accord.rloo(tiny_model_dir, PROMPTS, reward_funcs=[other], **values)
    again = accord.rloo(tiny_model_dir, PROMPTS, reward_funcs=[one], **values)
    assert again.metrics == found.metrics


def test_several_reward_models(tiny_model_dir: Path) -> None:
    rewards = [accord.reward(tiny_model_dir, PAIRS, seed=s, eval_fraction=0.3, **SMALL)
               for s in range(2)]  # fmt: skip
    found = accord.rloo(
        tiny_model_dir, PROMPTS, reward_model=rewards, reward_ensemble="mean",
        **{**ONLINE, "max_steps": 1},
    )  # fmt: skip
    assert found.metrics[1]["score/spread"] > 0


@pytest.mark.parametrize("method", ["dpo", "simpo", "orpo", "kto"])
def test_direct_methods(method: str, tiny_model_dir: Path) -> None:
    found = getattr(accord, method)(tiny_model_dir, PAIRS, eval_fraction=0.3, **SMALL)
    assert found.result["validation_loss"] > 0
    assert (found.model_path / "model.safetensors").is_file()


@pytest.mark.parametrize("method", ["grpo", "rloo", "reinforce", "online_dpo"])
def test_online_methods(method: str, tiny_model_dir: Path) -> None:
    found = getattr(accord, method)(
        tiny_model_dir, PROMPTS, reward_funcs=[prefer_short], num_generations=2, **ONLINE
    )
    assert found.result["updates"] == 4


def test_the_best_of_n_is_imitated(tiny_model_dir: Path) -> None:
    best = accord.best_of_n(
        tiny_model_dir, PROMPTS, reward_funcs=[prefer_short], num_generations=4, max_length=64,
        max_completion_length=4,
    )  # fmt: skip
    demonstrations = best.path / best.result["demonstrations"]
    assert accord.sft(tiny_model_dir, demonstrations, eval_fraction=0.3, **SMALL).result["rows"] > 0


def test_a_loaded_model_needs_its_tokenizer(tiny_model_dir: Path, tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_model_dir)
    values = {"eval_fraction": 0.3, "output_dir": tmp_path / "run", **SMALL}
    with pytest.raises(ConfigError, match="processing_class"):
        accord.sft(model, DEMONSTRATIONS, **values)
    tokenizer = load_tokenizer(str(tiny_model_dir))
    found = accord.sft(model, DEMONSTRATIONS, processing_class=tokenizer, **values)
    assert found.path == tmp_path / "run" and (found.path / "manifest.json").is_file()
    again = accord.sft(model, DEMONSTRATIONS, processing_class=tokenizer, **values)
    assert again.metrics == found.metrics  # unchanged, so it was skipped


def test_unknown_names_are_told(tiny_model_dir: Path) -> None:
    with pytest.raises(ConfigError, match="accord.dpo: unknown key 'betta'.*'beta'"):
        accord.dpo(tiny_model_dir, PAIRS, betta=1.0)
    with pytest.raises(AttributeError, match="no attribute 'sfft'"):
        accord.sfft  # noqa: B018


def test_importing_costs_no_torch() -> None:
    code = "import sys, accord; accord.__version__; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
