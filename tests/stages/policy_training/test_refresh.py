"""A reward model that is wrong in a known way, and mended while the policy learns from it."""

import importlib
import json
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from safetensors.torch import load_file

from accord.core.errors import ConfigError
from accord.core.files import write_jsonl
from accord.core.run_dir import RunDir
from accord.core.types import Message, PromptRow
from accord.corpora.pairs import load_comparisons
from accord.engine.local import LocalEngine
from accord.judges.pairing import Pair
from accord.models.heads import init_reward_model, load_reward_model
from accord.models.loading import load_tokenizer, save_model
from accord.stages.policy_training.fresh_pairs import AnnotatorVotes, ScorerVotes
from accord.stages.policy_training.refresh import weights_sha256
from accord.stages.reward_modeling import run as reward_stage
from accord.stages.reward_modeling.config import Config as RewardConfig
from accord.wiring import stage_config

METHODS = [
    pytest.param("ppo", marks=pytest.mark.slow),
    "grpo",
    pytest.param("online_dpo", marks=pytest.mark.slow),
]


def early(completions: list[Any], **_: Any) -> list[float]:
    """What is right: to start with a character from the first half."""
    return [float(is_early(text(c))) for c in completions]


def late(completions: list[Any], **_: Any) -> list[float]:
    return [1 - value for value in early(completions)]


def is_early(text: str) -> bool:
    return bool(text.strip()) and text.strip()[0] < "Z"


def undecided(completions: list[Any], **_: Any) -> list[float | None]:
    return [None if text(c) == "?" else 1.0 for c in completions]


def text(completion: Any) -> str:
    return completion if isinstance(completion, str) else completion[0]["content"]


class Early:
    kind: ClassVar[str] = "simulated"
    name = "early"

    def judge(self, row: Any, response_a: str, response_b: str) -> str:
        a, b = is_early(response_a), is_early(response_b)
        return "tie" if a == b else "a" if a else "b"


class Contrary(Early):
    def __init__(self, number: int) -> None:
        self.name = f"contrary {number}"

    def judge(self, row: Any, response_a: str, response_b: str) -> str:
        return super().judge(row, response_b, response_a)


ANNOTATORS = [Early()]
DIVIDED = [Early(), Contrary(1), Contrary(2)]


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.jsonl"
    write_jsonl(path, [{"prompt": f"user asks {i}"} for i in range(64)])
    return path


@pytest.fixture(scope="module")
def wrong(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A reward model that pays for the late half of what a random policy says, and its pairs."""
    folder = tmp_path_factory.mktemp("wrong")
    write_jsonl(folder / "prompts.jsonl", [{"prompt": f"user asks {i}"} for i in range(600)])
    reward = init_reward_model(str(tiny_model_dir), device=torch.device("cpu"), seed=1)
    save_model(reward, load_tokenizer(str(tiny_model_dir)), folder / "random")
    found = run(
        "grpo", tiny_model_dir, folder / "prompts.jsonl", folder / "random", folder / "run",
        learning_rate=1e-9, max_steps=3, refresh_prompts=400, refresh_scorer=f"{__name__}:late",
        refresh_epochs=12, refresh_learning_rate=2e-3,
    )  # fmt: skip
    assert found.refreshes[0]["accuracy_after"] > 0.9
    return folder / "run/reward", folder / "run/refresh-2.jsonl"


def run(method: str, model: Path, prompts: Path, wrong: Path, out: Path, **values: Any) -> Any:
    defaults: dict[str, Any] = {
        "model_name_or_path": str(model), "prompts": str(prompts),
        "reward_model_name_or_path": str(wrong), "gold_funcs": f"{__name__}:early",
        "learning_rate": 3e-3, "warmup_steps": 1, "per_device_train_batch_size": 32,
        "max_steps": 8, "max_length": 64, "max_completion_length": 1, "eval_steps": 2,
        "eval_fraction": 0.4, "refresh_steps": 2, "refresh_scorer": f"{__name__}:early",
        "refresh_prompts": 32, "refresh_learning_rate": 5e-3, "refresh_epochs": 6,
    }  # fmt: skip
    defaults |= {"kl_coef": 0.0} if method == "ppo" else {"num_generations": 4}
    if values.get("refresh_annotators") or values.get("refresh_steps") == 0:
        del defaults["refresh_scorer"]
    config = stage_config(method).parse({**defaults, **values}, where="test")
    stage = importlib.import_module(f"accord.stages.policy_training.{method}.run")
    return stage.run(config, RunDir(out), engine_factory=LocalEngine)


@pytest.mark.parametrize("method", METHODS)
def test_a_refresh_mends_what_was_wrong(
    method: str, tiny_model_dir: Path, prompts: Path, wrong: tuple[Path, Path], tmp_path: Path
) -> None:
    """What the policy says next is ranked rightly, before it has been judged.

    Whether such a policy's gold rises too is luck: a random model that is as sure of nothing as
    this one falls to whatever was paid before the first refresh in one run of three.
    """
    write_jsonl(prompts, [{"prompt": f"user asks {i}"} for i in range(256)])
    found = run(
        method, tiny_model_dir, prompts, wrong[0], tmp_path / "out", max_steps=14, eval_steps=14,
        refresh_steps=4, refresh_prompts=128, refresh_learning_rate=2e-3, refresh_epochs=10,
        learning_rate=1e-3,
    )  # fmt: skip
    assert [r["update"] for r in found.refreshes] == [4, 8, 12]
    first, second, third = found.refreshes
    assert first["judged_by"] == f"{__name__}:early"
    assert first["accuracy_before"] < 0.3 < 0.7 < first["accuracy_after"]
    assert second["accuracy_before"] > 0.6 and third["accuracy_before"] > 0.6
    assert min(second["accuracy_after"], third["accuracy_after"]) > 0.8
    out = tmp_path / "out"
    # The model that was refreshed last is there, as any reward model is.
    saved = load_reward_model(str(out / "reward"), device=torch.device("cpu"))
    assert weights_sha256(saved) == found.refreshes[-1]["model_sha256"]
    original = load_reward_model(str(wrong[0]), device=torch.device("cpu"))
    assert weights_sha256(original) not in {r["model_sha256"] for r in found.refreshes}


@pytest.mark.parametrize("method", METHODS)
def test_resumed_is_unbroken_bit_for_bit(
    method: str,
    tiny_model_dir: Path,
    prompts: Path,
    wrong: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = {"save_steps": 3, "refresh_comparisons": str(wrong[1]), "max_steps": 6}
    whole = run(method, tiny_model_dir, prompts, wrong[0], tmp_path / "whole", **values)
    with monkeypatch.context() as patch:
        log = RunDir.log

        def killed(self: RunDir, step: int, row: dict[str, float]) -> None:
            log(self, step, row)
            if step == 5 and self.path.name == "broken":  # one refresh after the checkpoint
                raise KeyboardInterrupt

        patch.setattr(RunDir, "log", killed)
        with pytest.raises(KeyboardInterrupt):
            run(method, tiny_model_dir, prompts, wrong[0], tmp_path / "broken", **values)
    resumed = run(method, tiny_model_dir, prompts, wrong[0], tmp_path / "broken", **values)
    assert resumed.refreshes == whole.refreshes and len(whole.refreshes) == 2
    assert resumed.heldout_score_before == whole.heldout_score_before
    assert all(0 < r["old_pairs"] <= r["pairs"] for r in whole.refreshes)
    for folder in ("model", "reward"):
        ours, theirs = (
            load_file(tmp_path / name / folder / "model.safetensors")
            for name in ("broken", "whole")
        )
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    rows = [RunDir(tmp_path / name).metrics() for name in ("broken", "whole")]
    plain = [[{k: v for k, v in r.items() if "perf/" not in k} for r in found] for found in rows]
    assert plain[0] == plain[1]


def test_what_was_judged_is_kept_and_read_back(
    tiny_model_dir: Path, prompts: Path, wrong: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    RunDir(out).write_json("manifest.json", {"stage": "grpo"})
    found = run("grpo", tiny_model_dir, prompts, wrong[0], out,
                refresh_annotators=f"{__name__}:ANNOTATORS", max_steps=6)  # fmt: skip
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest == {"stage": "grpo", "refreshes": found.refreshes}
    # From the second on, the pairs before are the old ones.
    assert [r["update"] for r in found.refreshes] == [2, 4]
    assert found.refreshes[0]["old_pairs"] == 0 < found.refreshes[1]["old_pairs"]
    for refresh in found.refreshes:
        pairs = load_comparisons([str(out / f"refresh-{refresh['update']}.jsonl")])
        assert 0.5 * refresh["pairs"] < len(pairs) <= refresh["pairs"]  # the rest is empty
        for pair in pairs:
            sides = is_early(pair.chosen), is_early(pair.rejected)
            assert (pair.p_chosen == 0.5) == (sides[0] == sides[1])
            assert pair.p_chosen == 0.5 or sides[0]
    row = {r["step"]: r for r in RunDir(out).metrics()}
    assert row[3]["refresh/pairs"] == found.refreshes[0]["pairs"] and "refresh/pairs" not in row[2]


def test_what_figures_are_compared_with_is_scored_anew(
    tiny_model_dir: Path, prompts: Path, wrong: tuple[Path, Path], tmp_path: Path
) -> None:
    """Before and after are by the same reward model: the refreshed one."""
    found = run("grpo", tiny_model_dir, prompts, wrong[0], tmp_path / "out", max_steps=3,
                learning_rate=1e-9, refresh_learning_rate=5e-2)  # fmt: skip
    before = RunDir(tmp_path / "out").metrics()[0]["heldout/score"]
    assert found.heldout_score_before == pytest.approx(found.heldout_score_after, abs=1e-4)
    assert abs(found.heldout_score_before - before) > 0.1


def test_votes_by_hand() -> None:
    row = PromptRow((Message(role="user", content="?"),), {"id": "1"})
    pairs = [Pair(row, "A", "z"), Pair(row, "z", "A"), Pair(row, "A", "B")]
    assert AnnotatorVotes(f"{__name__}:ANNOTATORS", seed=0).of(pairs) == [1.0, 0.0, 0.5]
    assert AnnotatorVotes(f"{__name__}:DIVIDED", seed=0).of(pairs) == pytest.approx(
        [1 / 3, 2 / 3, 0.5]
    )
    assert ScorerVotes(f"{__name__}:early").of(pairs) == [1.0, 0.0, 0.5]
    (share,) = ScorerVotes(f"{__name__}:undecided").of([Pair(row, "A", "?")])
    assert share != share


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"refresh_scorer": None}, "somebody has to judge"),
        ({"refresh_scorer": "a:b", "refresh_annotators": "c:d"}, "not both"),
        ({"reward_model_name_or_path": ["x", "y"]}, "one reward model .* got 2"),
        ({"reward_model_name_or_path": [], "reward_funcs": "a:b"}, "got 0"),
        ({"reward_ensemble": "mean"}, "in an ensemble"),
        ({"monitors": "off"}, "needs monitors"),
    ],
)
def test_what_cannot_be_refreshed_is_refused(values: dict[str, Any], message: str) -> None:
    defaults = {
        "model_name_or_path": "m", "prompts": "p", "reward_model_name_or_path": ["x"],
        "refresh_steps": 2, "refresh_scorer": "a:b",
    }  # fmt: skip
    with pytest.raises(ConfigError, match=message):
        stage_config("grpo").parse({**defaults, **values}, where="test")


def test_a_model_of_several_heads_is_refused(
    tiny_model_dir: Path, prompts: Path, wrong: tuple[Path, Path], tmp_path: Path
) -> None:
    config = RewardConfig(
        model_name_or_path=str(tiny_model_dir), comparisons=[str(wrong[1])], members=2,
        max_steps=1, max_length=64,
    )  # fmt: skip
    several = reward_stage.run(config, RunDir(tmp_path / "several")).model
    with pytest.raises(ConfigError, match="several heads"):
        run("grpo", tiny_model_dir, prompts, several, tmp_path / "out")
