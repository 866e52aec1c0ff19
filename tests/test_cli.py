"""The command line: parse, call, print; wrong input is one line and exit status 2."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from accord import cli, pipeline
from accord.commands import _flags_over
from accord.core.errors import Interrupted
from accord.core.files import write_jsonl
from accord.corpora.encoding import ChatEncoder
from accord.models.loading import load_tokenizer
from accord.wiring import stage_config


@pytest.fixture
def demonstrations(tmp_path: Path) -> Path:
    path = tmp_path / "demos.jsonl"
    write_jsonl(path, ({"prompt": f"user asks {i}", "completion": "12"} for i in range(40)))
    return path


def sft(model: Path, data: Path, *extra: str) -> list[str]:
    return [
        "sft", "--model_name_or_path", str(model), "--dataset_name", str(data),
        "--eval_fraction", "0.2", "--max_steps", "2", *extra,
    ]  # fmt: skip


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    shown = capsys.readouterr().out
    for name in cli._HELP:
        assert f"  {name} " in shown
    assert set(cli._commands()) == set(cli._HELP)


def test_a_stage_s_help_shows_its_fields(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["ppo", "--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert "--kl_coef" in shown
    assert "--output_dir DIR" in shown


def test_flags_go_over_the_config_file(
    tiny_model_dir: Path, demonstrations: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "sft.toml"
    config.write_text("max_steps = 5\nlearning_rate = 0.001\n")
    out = tmp_path / "out"
    arguments = sft(tiny_model_dir, demonstrations, "--config", str(config), "--json")
    assert cli.main([*arguments, "--output_dir", str(out)]) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 2
    assert "learning_rate = 0.001" in (out / "config.toml").read_text()
    # The same again is skipped; another config in the same place is refused.
    assert cli.main([*arguments, "--output_dir", str(out)]) == 0
    assert cli.main([*arguments, "--output_dir", str(out), "--seed", "7"]) == 2
    assert "--force" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--use_peft"], {"use_peft": True}),
        (["--use-peft", "true", "--bf16"], {"use_peft": True, "bf16": True}),
        (["--bf16", "--max_steps", "3"], {"bf16": True, "max_steps": 3}),
        (["--bf16", "False"], {"bf16": False}),
        (["--dataset_name", "true", "--bf16", "false"], {"dataset_name": ["true"], "bf16": False}),
    ],
)
def test_switches_are_written_as_people_write_them(
    flags: list[str], expected: dict[str, Any]
) -> None:
    values = {"model_name_or_path": "m", "dataset_name": ["d"], "use_peft": False}
    config = _flags_over(stage_config("sft"), values, flags, stage="sft", where="test")
    assert {name: getattr(config, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("stage", "values", "flags", "rate"),
    [
        ("sft", {}, [], 2e-5),
        ("sft", {}, ["--use_peft"], 2e-4),
        ("sft", {"use_peft": True}, [], 2e-4),
        ("sft", {"use_peft": True, "learning_rate": 3e-5}, [], 3e-5),
        ("sft", {}, ["--use_peft", "--learning-rate", "2e-5"], 2e-5),
        ("sft", {}, ["--use_peft", "--learning_rate=2e-5"], 2e-5),
        ("sft", {"use_peft": True}, ["--use_peft", "False"], 2e-5),
        ("orpo", {}, ["--use_peft"], 1e-5),
    ],
)
def test_adapters_learn_at_ten_times_the_default(
    stage: str, values: dict[str, Any], flags: list[str], rate: float
) -> None:
    data = "dataset_name" if stage == "sft" else "comparisons"
    values = {"model_name_or_path": "m", data: ["d"], **values}
    config: Any = _flags_over(stage_config(stage), values, flags, stage=stage, where="test")
    assert config.learning_rate == rate
    resolved = stage_config(stage).parse(config.model_dump(exclude_none=True), where="test")
    assert resolved == config


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sfft"], "no command 'sfft'; did you mean 'sft'"),
        (["sft", "--config", "none.toml"], "none.toml: no such config file"),
        (["run", "--config", "none.toml"], "none.toml: no such config file"),
        (["report", "nowhere"], "nowhere"),
        (["lineage", "nowhere"], "expected a step's directory"),
    ],
)
def test_wrong_input_is_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert "Traceback" not in shown


def test_wrong_keys_and_missing_places(
    tiny_model_dir: Path, demonstrations: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "sft.toml"
    config.write_text("lr = 1\n")
    assert cli.main(["sft", "--config", str(config), "--output_dir", str(tmp_path / "o")]) == 2
    assert "unknown key 'lr'; did you mean 'learning_rate'" in capsys.readouterr().err
    assert cli.main(sft(tiny_model_dir, demonstrations)) == 2
    assert "give --output_dir" in capsys.readouterr().err
    missing = sft(tmp_path / "none", demonstrations, "--output_dir", str(tmp_path / "o"))
    assert cli.main(missing) == 2
    assert "no such model directory" in capsys.readouterr().err


def test_ctrl_c_exits_with_130(
    monkeypatch: pytest.MonkeyPatch, tiny_model_dir: Path, demonstrations: Path, tmp_path: Path
) -> None:
    def stopped(*_: Any, **__: Any) -> None:
        raise Interrupted("stopped after step 3; run again to resume")

    monkeypatch.setattr(pipeline, "stage_run", lambda _: stopped)
    arguments = sft(tiny_model_dir, demonstrations, "--output_dir", str(tmp_path / "o"))
    assert cli.main(arguments) == 130


def test_a_whole_run_prints_its_way_and_leaves_a_report(
    tiny_model_dir: Path, demonstrations: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "run.toml"
    config.write_text(
        f"""
name = "tiny"
[inputs]
model = "{tiny_model_dir}"
data = "{demonstrations}"
[[step]]
name = "sft"
stage = "sft"
max_steps = 2
eval_fraction = 0.2
inputs = {{ model_name_or_path = "inputs.model", dataset_name = ["inputs.data"] }}
"""
    )
    out = tmp_path / "out"
    arguments = ["run", "--config", str(config), "--output_dir", str(out), "--set", "sft.seed=3"]
    assert cli.main(arguments) == 0
    shown = capsys.readouterr().out
    assert "[1/1] sft (sft)" in shown
    assert "report.html" in shown.replace("\n", "")
    assert json.loads((out / "summary.json").read_text())["steps"]["sft"]["seed"] == 3
    assert cli.main([*arguments, "--json"]) == 0
    json.loads(capsys.readouterr().out)
    assert cli.main(["lineage", str(out / "sft")]) == 0
    assert "dataset_name" in capsys.readouterr().out


def test_inspect_shows_what_is_trained(
    tiny_model_dir: Path, demonstrations: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["data", "inspect", str(demonstrations), "--model", str(tiny_model_dir)]) == 0
    shown = capsys.readouterr().out
    assert "40 rows of demonstrations" in shown.replace("\n", "")
    assert "12<|im_end|>" in shown


def test_inspect_counts_every_turn_that_is_trained(
    tiny_model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both of the assistant's turns, as SFT does; a pair shows both sides."""
    turns = [
        ("user", "user asks"),
        ("assistant", "12"),
        ("user", "find"),
        ("assistant", "7 are 19"),
    ]
    path = tmp_path / "talk.jsonl"
    write_jsonl(path, [{"messages": [{"role": r, "content": c} for r, c in turns]}])
    encoder = ChatEncoder(load_tokenizer(str(tiny_model_dir)))
    expected = sum(len(encoder.encode_response(turns[i][1])) for i in (1, 3))
    arguments = ["--model", str(tiny_model_dir), "--max_length", "3"]
    assert cli.main(["data", "inspect", str(path), *arguments]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert f"response (end of turn included) tokens: min {expected}," in shown
    assert "1 rows would be cut at the prompt's start, 1 have a response that does" in shown

    write_jsonl(path, [{"prompt": "user asks", "chosen": "find 12", "rejected": "said 7"}])
    assert cli.main(["data", "inspect", str(path), *arguments]) == 0
    shown = capsys.readouterr().out
    assert "find 12" in shown and "said 7" in shown


def test_the_installed_program_answers() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "accord.cli", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("accord 0.")
