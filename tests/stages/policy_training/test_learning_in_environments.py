"""Online methods in environments: what is trained on, and that it learns."""

import importlib
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from accord.core.episodes import Reply, Rollout
from accord.core.errors import ConfigError
from accord.core.files import write_jsonl
from accord.core.run_dir import RunDir
from accord.core.types import Message, PromptRow
from accord.corpora.encoding import ChatEncoder
from accord.engine.local import LocalEngine
from accord.environments.named import Settings
from accord.environments.react import Act, ReAct
from accord.stages.policy_training import episodes
from accord.stages.policy_training.rollouts import rollout_grid
from accord.wiring import stage_config

VALUES: dict[str, Any] = {
    "environment": f"{__name__}:two_turns", "learning_rate": 1e-2, "warmup_steps": 1,
    "per_device_train_batch_size": 32, "max_steps": 2, "max_length": 96, "max_turns": 3,
    "max_completion_length": 1, "max_eval_prompts": 8, "eval_steps": 2, "eval_fraction": 0.4,
}  # fmt: skip


class TwoTurns:
    """Says something between two actions, of which the second should start with an `a`."""

    stops: tuple[str, ...] = ()

    def reset(self, row: PromptRow, fits: object) -> tuple[Message, ...]:
        self.turn = 0
        return row.prompt

    async def step(self, action: str) -> Reply:
        self.turn += 1
        if self.turn == 1:
            return Reply((Message(role="user", content="The system said: 12"),))
        return Reply(is_done=True, reward=float(action.startswith("a")))


def two_turns(settings: Settings) -> type[TwoTurns]:
    return TwoTurns


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.jsonl"
    write_jsonl(path, [{"prompt": f"user asks {i}", "answer": i} for i in range(24)])
    return path


def run(method: str, model: Path, prompts: Path, out: Path, **values: Any) -> Any:
    given = {**VALUES, "model_name_or_path": str(model), "prompts": str(prompts), **values}
    config = stage_config(method).parse(given, where="test")
    stage = importlib.import_module(f"accord.stages.policy_training.{method}.run")
    return stage.run(config, RunDir(out), engine_factory=LocalEngine)


def test_observations_are_no_targets(tiny_model_dir: Path) -> None:
    encoder = ChatEncoder(AutoTokenizer.from_pretrained(tiny_model_dir))
    policy: Any = SimpleNamespace(encoder=encoder, device=torch.device("cpu"))
    masks = [(True, False, False, True), (True, True)]
    rollouts = [
        Rollout((5, 6), tuple(range(7, 7 + len(mask))), mask, tuple(-1.0 * m for m in mask), True)
        for mask in masks
    ]
    batch, old_logprobs = rollout_grid(rollouts, policy)
    assert batch.input_ids.tolist()[0] == [5, 6, 7, 8, 9, 10]
    assert batch.target_mask.tolist() == [
        [False, False, True, False, False, True],
        [False, False, True, True, False, False],
    ]
    assert (old_logprobs != 0).equal(batch.target_mask)


def test_grpo_learns_what_an_environment_pays(
    tiny_model_dir: Path, prompts: Path, tmp_path: Path
) -> None:
    """As for a reward: a random policy is right once in 50, the optimum is always."""
    result = run(
        "grpo", tiny_model_dir, prompts, tmp_path / "out", max_steps=50, eval_steps=50,
        per_device_train_batch_size=64, num_generations=16,
    )  # fmt: skip
    assert result.heldout_score_before < 0.3
    assert result.heldout_score_after > 0.9
    assert result.largest_sampler_gap_nats < 1e-4
    last = RunDir(tmp_path / "out").metrics()[-1]
    assert last["length/mean"] == 2.0, "the observation's tokens do not count"
    assert last["episode/ended_done"] == 1.0


@pytest.mark.parametrize("method", ["ppo", "rloo"])
def test_other_methods_train_in_environments(
    method: str, tiny_model_dir: Path, prompts: Path, tmp_path: Path
) -> None:
    result = run(method, tiny_model_dir, prompts, tmp_path / "out")
    assert result.largest_sampler_gap_nats < 1e-4
    last = RunDir(tmp_path / "out").metrics()[-1]
    assert last["length/mean"] == 2.0 and last["episode/ended_context"] == 0.0


@pytest.mark.parametrize("name", ["conversation", "cot", "pal", "calculator", "react", "rag"])
def test_every_environment_trains(
    name: str,
    tiny_model_dir: Path,
    prompts: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A random policy earns nothing; but its episodes are played, cut to the context, and read."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    values: dict[str, Any] = {"environment": name}
    if name in ("react", "rag"):
        pytest.importorskip("bm25s")
        (tmp_path / "documents").mkdir()
        (tmp_path / "documents" / "a.txt").write_text("The user asks 7, and the system says 12.")
        values["environment_documents"] = str(tmp_path / "documents")
    run(
        "grpo", tiny_model_dir, prompts, tmp_path / "out", max_steps=1, eval_steps=1,
        per_device_train_batch_size=4, num_generations=2, mini_batch_size=4, max_eval_prompts=2,
        max_length=400, max_completion_length=8, max_turns=2, environment_sandbox="limits",
        **values,
    )  # fmt: skip
    last = RunDir(tmp_path / "out").metrics()[-1]
    assert last["sampler_gap_nats/max"] < 1e-4
    assert sum(last[f"episode/ended_{end}"] for end in ("done", "turns", "context")) == 1.0


def test_tools_of_a_server_are_called_in_training(
    tiny_model_dir: Path, prompts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A random policy writes no action, so its words are read as one."""
    double = Path(__file__).parents[2] / "environments" / "mcp_double.py"
    called = Act("add", '{"a": 1, "b": 2}')
    monkeypatch.setattr("accord.environments.react.parse_action", lambda _: called)
    results: list[str] = []
    step = ReAct.step

    async def watched(self: ReAct, action: str) -> Reply:
        reply = await step(self, action)
        results.append(reply.notes["result"].text)
        return reply

    monkeypatch.setattr(ReAct, "step", watched)
    run(
        "grpo", tiny_model_dir, prompts, tmp_path / "out", max_steps=1, eval_steps=1,
        per_device_train_batch_size=4, num_generations=2, mini_batch_size=4, max_eval_prompts=2,
        max_length=400, max_completion_length=8, max_turns=1, environment="react",
        environment_mcp=[shlex.join([sys.executable, str(double)])], environment_tools=["add"],
    )  # fmt: skip
    assert len(results) >= 4 and set(results) == {"3"}


def test_what_a_config_says_of_an_environment_reaches_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Settings] = []
    monkeypatch.setattr(episodes, "_made", lambda name, settings: made.append(settings))
    exemplars = tmp_path / "shown.json"
    values = {
        "environment_passages": 2, "environment_min_coverage": 0.1, "environment_verifies": True,
        "environment_retries": 3, "environment_exemplars": str(exemplars),
    }  # fmt: skip
    given = {**VALUES, "model_name_or_path": "m", "prompts": "p", **values}
    episodes.environments_of(stage_config("grpo").parse(given, where="test"))
    assert made == [
        Settings(passages=2, min_coverage=0.1, verifies=True, retries=3, exemplars=str(exemplars))
    ]


def test_what_cannot_be_paid_is_refused() -> None:
    values = {**VALUES, "model_name_or_path": "m", "prompts": "p"}
    for wrong, why in (
        ({"reward_funcs": ["a:b"]}, "pays the policy itself"),
        ({"ask_again": True}, "ask_again doubts single answers"),
        ({"environment": None, "environment_tools": ["calculator"]}, "needs environment"),
        ({"environment": None, "environment_mcp": ["server"]}, "needs environment"),
    ):
        with pytest.raises(ConfigError, match=why):
            stage_config("grpo").parse({**values, **wrong}, where="test")
