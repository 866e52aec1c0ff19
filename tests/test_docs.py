"""Names in the documentation are names in the code."""

import re
import tomllib
from pathlib import Path

import accord
from accord.cli import _HELP
from accord.commands.serve import _parser
from accord.judges.constitution import Constitution
from accord.promotion.gate import read_gate
from accord.wiring import stage_config

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/coming-from-trl.md").read_text()


def rows(section: str) -> list[list[str]]:
    """Cells of the table under a heading, without its head."""
    text = PAGE.split(f"## {section}\n")[1].split("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_every_command_and_function_is_there() -> None:
    table = rows("Trainers")
    assert len(table) > 8
    for _, command, function in table:
        assert code(command)[0].removeprefix("accord ") in _HELP
        name = re.match(r"accord\.(\w+)\(", code(function)[0])
        assert name and callable(getattr(accord, name[1]))


def test_every_field_is_there() -> None:
    table = rows("Arguments")
    assert len(table) > 15
    for theirs, stage, ours in table:
        fields = stage_config(code(stage)[0]).model_fields
        is_same = ours.startswith("the same")
        names = code(theirs) if is_same else code(ours)
        assert names, (theirs, ours)
        for name in names:
            assert name in fields, (stage, name)


def test_defaults_are_those_that_the_readme_states() -> None:
    """For models of ordinary size; small ones have their own in the configs that ship."""
    text = (ROOT / "README.md").read_text().split("## Defaults")[1].split("##")[0]
    ppo, dpo = (stage_config(stage).model_fields for stage in ("ppo", "dpo"))
    assert "PPO learning rate 1e-5, batch 64, KL coefficient 0.1, 4 epochs" in text
    assert ppo["learning_rate"].default == 1e-5
    assert ppo["per_device_train_batch_size"].default == 64
    assert (ppo["kl_coef"].default, ppo["num_ppo_epochs"].default) == (0.1, 4)
    assert re.search(r"DPO β\s+0.1, learning rate 1e-6", text)
    assert (dpo["beta"].default, dpo["learning_rate"].default) == (0.1, 1e-6)


def test_flags_of_ai_feedback_are_there() -> None:
    page = (ROOT / "docs/ai-feedback.md").read_text()
    stages = ("judge", "evaluate", "benchmark", "oversight")
    known = {"output_dir"}.union(*(stage_config(stage).model_fields for stage in stages))
    named = set(re.findall(r"--(\w+)", page))
    assert len(named) > 20 and named <= known, named - known


def test_flags_of_red_teaming_are_there() -> None:
    page = (ROOT / "docs/red-team.md").read_text()
    known = {"output_dir", "config", "input"} | set(stage_config("red_team").model_fields)
    label = {"red_team", "target"}
    garaks = {"target_type", "target_name", "generator_option_file", "spec", "probes",
              "generations", "report_prefix", "port"}  # fmt: skip
    named = set(re.findall(r"--(\w+)", page))
    assert named <= known | label | garaks, named - known - label - garaks
    assert {"previous", "regression", "held_out_family", "garak"} < named


def test_the_pages_constitution_is_one() -> None:
    (written,) = re.findall(
        r"```toml\n(.*?)```", (ROOT / "docs/constitution.md").read_text(), re.DOTALL
    )
    found = Constitution.from_toml(written, where="the page")
    assert len(found.principles) == len(found.examples) == 1


def test_the_page_of_deployment_speaks_of_what_is_there(tmp_path: Path) -> None:
    page = (ROOT / "docs/deployment.md").read_text()
    gate, step = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "gate.toml").write_text(gate)
    asked = read_gate(tmp_path / "gate.toml")
    assert {one.figure for one in asked} >= {"win_rate", "attack_success", "over_refusal"}
    (written,) = tomllib.loads(step)["step"]
    fields = {*written, *written["inputs"]} - {"name", "stage", "inputs"}
    assert fields <= set(stage_config(written["stage"]).model_fields)
    stages = ("evaluate", "benchmark", "deploy")
    known = {"output_dir", "force", "rollback"}.union(
        *(stage_config(stage).model_fields for stage in stages)
    )
    serve = {option.lstrip("-") for option in _parser()._option_string_actions}
    docker = {"build", "torch", "env", "no", "user", "host"}
    assert set(re.findall(r"--(\w+)", page)) <= known | serve | docker
