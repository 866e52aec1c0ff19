"""The deployment stage: what passes goes live, what falls short changes nothing, evidence is of the
very weights; and a run that ends evaluate, red team, gate, deploy.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch
from transformers import AutoModelForCausalLM

from accord import cli
from accord.core.errors import ConfigError, DataError
from accord.core.files import hash_path, write_jsonl
from accord.core.run_dir import RunDir
from accord.models.heads import init_reward_model
from accord.models.loading import load_tokenizer, save_model
from accord.promotion.aliases import checked_model, read_aliases
from accord.stages.deployment import run as stage
from accord.stages.deployment.config import Config

CPU = torch.device("cpu")


def one(value: float, name: str = "mean") -> dict[str, float]:
    return {name: value, "low": value - 0.05, "high": value + 0.05, "n": 100}


def evaluated(run: Path, model: Path, *, win_rate: float) -> str:
    """A finished evaluation of a policy beside another one."""
    step = run / "evaluate"
    step.mkdir(parents=True)
    policies = {"sft": "elsewhere", "ppo": str(model)}
    digests = ["0" * 64, hash_path(model)]
    entries = [{"value": v, "sha256": d} for v, d in zip(policies.values(), digests, strict=True)]
    manifest = {"stage": "evaluate", "inputs": {"policies": entries}}
    result = {
        "policies": {"sft": {"score": one(0.1)}, "ppo": {"score": one(0.4)}},
        "win_rates": {"ppo": {"judge": one(win_rate)}},
        "changes": {},
        "baseline": "sft",
    }
    (step / "manifest.json").write_text(json.dumps(manifest))
    (step / "config.toml").write_text(tomli_w.dumps({"policies": policies}))
    (step / "result.json").write_text(json.dumps(result))
    return str(step)


def attacked(run: Path, model: Path, *, success: float) -> str:
    """A finished red team."""
    step = run / "red_team"
    step.mkdir(parents=True)
    inputs = {"model_name_or_path": [{"value": "m", "sha256": hash_path(model)}]}
    result = {
        "success": {"all": {"all": {"at_1": one(success, "value")}}},
        "over_refusal": None,
        "regression": None,
    }
    (step / "manifest.json").write_text(json.dumps({"stage": "red_team", "inputs": inputs}))
    (step / "result.json").write_text(json.dumps(result))
    return str(step / "result.json")


@pytest.fixture
def gate(tmp_path: Path) -> str:
    path = tmp_path / "gate.toml"
    path.write_text("[win_rate]\nat_least = 0.5\n[attack_success]\nat_most = 0.2\n")
    return str(path)


def deploy(run: Path, model: Path, **values: Any) -> stage.Result:
    config = Config.parse({"model_name_or_path": str(model), **values}, where="test")
    return stage.run(config, RunDir(run / "deploy"))


def test_what_keeps_every_condition_goes_live(
    tmp_path: Path, tiny_model_dir: Path, gate: str
) -> None:
    run = tmp_path / "run"
    found = deploy(
        run,
        tiny_model_dir,
        gate=gate,
        evaluations=evaluated(run, tiny_model_dir, win_rate=0.6),
        red_teams=attacked(run, tiny_model_dir, success=0.1),
    )
    assert found.deployed and found.gate["held"]
    assert [(c["figure"], c["run"], c["held"]) for c in found.gate["conditions"]] == [
        ("win_rate.judge", "evaluate", True),
        ("attack_success", "red_team", True),
    ]
    file = run / "deploy" / found.aliases
    now = read_aliases(file)["policy"].serves
    assert file.resolve() == (run / "deployed/aliases.json").resolve()
    assert now.sha256 == found.sha256 == hash_path(checked_model(file, now))
    assert (file.parent / now.run).resolve() == (run / "deploy").resolve()


def test_what_falls_short_leaves_the_alias_as_it_was(
    tmp_path: Path, tiny_model_dir: Path, gate: str
) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    aliases = tmp_path / "shared" / "aliases.json"
    first = deploy(
        good, tiny_model_dir, gate=gate, aliases=str(aliases), alias="chat",
        evaluations=evaluated(good, tiny_model_dir, win_rate=0.6),
        red_teams=attacked(good, tiny_model_dir, success=0.1),
    )  # fmt: skip
    before = aliases.read_bytes()
    other = tmp_path / "other"
    shutil.copytree(tiny_model_dir, other)
    (other / "note").write_text("other weights")
    for win_rate, success, short in ((0.52, 0.1, "win_rate.judge"), (0.6, 0.3, "attack_success")):
        shutil.rmtree(bad, ignore_errors=True)
        found = deploy(
            bad, other, gate=gate, aliases=str(aliases), alias="chat",
            evaluations=evaluated(bad, other, win_rate=win_rate),
            red_teams=attacked(bad, other, success=success),
        )  # fmt: skip
        assert not found.deployed and found.sha256 != first.sha256
        assert [c["figure"] for c in found.gate["conditions"] if not c["held"]] == [short]
        assert aliases.read_bytes() == before
    # Nothing was measured of attacks: no pass.
    shutil.rmtree(bad)
    evaluation = evaluated(bad, other, win_rate=0.9)
    found = deploy(bad, other, gate=gate, aliases=str(aliases), evaluations=evaluation)
    assert not found.deployed and aliases.read_bytes() == before
    assert "nobody measured 'attack_success'" in found.gate["conditions"][1]["why"]


def test_evidence_is_of_the_very_weights(tmp_path: Path, tiny_model_dir: Path, gate: str) -> None:
    run = tmp_path / "run"
    other = tmp_path / "other"
    shutil.copytree(tiny_model_dir, other)
    evaluation = evaluated(run, other, win_rate=0.9)
    red_team = attacked(run, other, success=0.0)
    (other / "config.json").write_text((other / "config.json").read_text() + " ")
    for values in ({"evaluations": evaluation}, {"red_teams": red_team}):
        with pytest.raises(ConfigError, match="measured other weights"):
            deploy(run, other, gate=gate, **values)
    assert not (run / "deployed").exists()


def test_what_is_no_evidence_is_refused(tmp_path: Path, tiny_model_dir: Path, gate: str) -> None:
    run = tmp_path / "run"
    with pytest.raises(DataError, match="expected the directory of a finished run"):
        deploy(run, tiny_model_dir, gate=gate, evaluations=str(tmp_path))
    evaluation = evaluated(run, tiny_model_dir, win_rate=0.9)
    with pytest.raises(ConfigError, match="named twice"):
        deploy(run, tiny_model_dir, gate=gate, evaluations=[evaluation, evaluation])
    path = Path(evaluation) / "manifest.json"
    path.write_text(path.read_text().replace('"evaluate"', '"sft"'))
    with pytest.raises(ConfigError, match="a run of sft; expected one of evaluate"):
        deploy(run, tiny_model_dir, gate=gate, evaluations=evaluation)
    reward = tmp_path / "reward"
    made = init_reward_model(str(tiny_model_dir), device=CPU, seed=0)
    save_model(made, load_tokenizer(str(tiny_model_dir)), reward)
    with pytest.raises(ConfigError, match="is a reward model"):
        deploy(run, reward, gate=gate, evaluations=evaluation)
    with pytest.raises(ConfigError, match="expected a model's directory"):
        deploy(run, tmp_path / "none", gate=gate, evaluations=evaluation)
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    with pytest.raises(ConfigError, match="deploy the merged model"):
        deploy(run, tmp_path / "adapter", gate=gate, evaluations=evaluation)
    with pytest.raises(ConfigError, match="nothing was measured"):
        deploy(run, tiny_model_dir, gate=gate)
    with pytest.raises(ConfigError, match="alias 'a b'"):
        deploy(run, tiny_model_dir, gate=gate, alias="a b", evaluations=evaluation)


def says_a(completions: list[Any], **_: Any) -> list[float]:
    return [float("a" in c) for c in completions]


def never(completions: list[Any], **_: Any) -> list[float]:
    return [0.0 for _ in completions]


RUN = """
name = "tiny"
[inputs]
sft = "{sft}"
ppo = "{ppo}"
prompts = "{prompts}"

[[step]]
name = "evaluate"
stage = "evaluate"
baseline = "sft"
max_completion_length = 8
max_length = 128
scorer = "stages.deployment.test_run:says_a"
gate = "{gate}"
[step.inputs]
policies = {{ sft = "inputs.sft", ppo = "inputs.ppo" }}
reference = "inputs.sft"
prompts = "inputs.prompts"

[[step]]
name = "attack"
stage = "red_team"
attack = ["direct"]
attempts = 1
max_new_tokens = 8
better_draws = 0
scorer = ["not_refused", "stages.deployment.test_run:never"]
[step.inputs]
model_name_or_path = "inputs.ppo"
behaviours = "inputs.prompts"

[[step]]
name = "deploy"
stage = "deploy"
gate = "{last_gate}"
[step.inputs]
model_name_or_path = "inputs.ppo"
evaluations = ["evaluate.result"]
red_teams = ["attack.result"]
"""


def test_a_run_ends_evaluate_red_team_gate_deploy(
    tmp_path: Path, tiny_model_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ppo, prompts = tmp_path / "ppo", tmp_path / "prompts.jsonl"
    policy = AutoModelForCausalLM.from_pretrained(tiny_model_dir)
    with torch.no_grad():
        policy.model.norm.weight *= 1.5
    save_model(policy, load_tokenizer(str(tiny_model_dir)), ppo)
    write_jsonl(prompts, [{"prompt": f"user asks {i}", "id": f"b{i}"} for i in range(4)])
    easy, hard = tmp_path / "easy.toml", tmp_path / "hard.toml"
    easy.write_text("[win_rate.scorer]\nat_least = 0\n[attack_success]\nat_most = 1\n")
    hard.write_text("[win_rate.scorer]\nat_least = 0.99\n")
    config = tmp_path / "run.toml"
    values = {"sft": tiny_model_dir, "ppo": ppo, "prompts": prompts, "gate": hard}
    config.write_text(RUN.format(**values, last_gate=hard))
    out = tmp_path / "out"
    arguments = ["run", "--config", str(config), "--output_dir", str(out), "--quiet"]

    assert cli.main(arguments) == 3
    shown = capsys.readouterr().out
    assert shown.count("FELL SHORT: win_rate.scorer") == 2 and "refused" in shown
    steps = json.loads((out / "summary.json").read_text())["steps"]
    assert [s["status"] for s in steps.values()] == ["finished"] * 3
    assert steps["evaluate"]["result"]["gate"]["held"] is False
    assert steps["deploy"]["result"]["deployed"] is False
    assert set(steps["deploy"]["parents"]) == {"evaluate", "attack"}
    assert not (out / "deployed").exists()
    page = (out / "report.html").read_text()
    assert "fell short" in page and "was refused; the alias policy is as it was" in page

    # The gate alone is another; what was measured stays measured.
    settings = ["--set", f"deploy.gate={easy}"]
    assert cli.main([*arguments, *settings]) == 3  # the evaluation's own gate still says no
    shown = capsys.readouterr().out
    assert shown.count("unchanged, skipped") == 2
    steps = json.loads((out / "summary.json").read_text())["steps"]
    assert steps["deploy"]["result"]["deployed"] is True
    assert "held: attack_success 0" in shown
    assert f"accord serve --aliases {out / 'deployed' / 'aliases.json'}" in shown

    aliases = out / "deployed" / "aliases.json"
    now = read_aliases(aliases)["policy"].serves
    assert now.sha256 == hash_path(ppo)
    assert cli.main(["lineage", str(aliases)]) == 0
    assert "evaluate (evaluate), finished" in capsys.readouterr().out
    assert cli.main(["deploy", "--rollback", "--aliases", str(aliases)]) == 2
    assert "led to nothing before" in capsys.readouterr().err
