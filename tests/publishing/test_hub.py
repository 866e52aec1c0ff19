"""Pushing: what reaches the hub, and that a failed upload costs nothing."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

import accord
from accord import cli
from accord.core.errors import ConfigError, HubError
from accord.core.files import hash_path, write_jsonl
from accord.publishing import hub as pushing
from publishing.fake_hub import TOKEN, FakeHub, running

# huggingface_hub 2.4 gives httpx a file by an argument of an older name.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with running(monkeypatch) as fake:
        yield fake


@pytest.fixture
def command(tiny_model_dir: Path, tmp_path: Path) -> list[str]:
    rows = [{"prompt": f"user asks {i}", "completion": "know"} for i in range(40)]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    return [
        "sft", "--model_name_or_path", str(tiny_model_dir), "--dataset_name",
        str(tmp_path / "rows.jsonl"), "--eval_fraction", "0.2", "--max_steps", "1",
        "--output_dir", str(tmp_path / "run"),
    ]  # fmt: skip


def on_disk(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}


def test_the_model_reaches_the_hub_byte_for_byte(
    hub: FakeHub, command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*command, "--quiet", "--push_to_hub", "ada/first"]) == 0
    assert hub.files["ada/first"] == on_disk(tmp_path / "run" / "model")
    assert {"README.md", "config.json", "model.safetensors"} <= set(hub.files["ada/first"])
    assert hub.private == {"ada/first": False}
    assert f"pushed to {hub.url}/ada/first" in capsys.readouterr().out.replace("\n", "")
    # What is public names nothing of this machine.
    for name, content in hub.files["ada/first"].items():
        assert str(tmp_path.parent).encode() not in content, name


def test_a_finished_stage_is_pushed_without_training_again(
    hub: FakeHub, command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*command, "--quiet"]) == 0
    before = (tmp_path / "run" / "manifest.json").read_text()
    assert cli.main([*command, "--json", "--push-to-hub", "second", "--hub-private"]) == 0
    shown = capsys.readouterr().out
    assert json.loads(shown.splitlines()[-1])["steps"] == 1
    assert hub.private == {"ada/second": True}
    assert hub.files["ada/second"] == on_disk(tmp_path / "run" / "model")
    assert (tmp_path / "run" / "manifest.json").read_text() == before
    # Again is another commit to the same repository.
    assert cli.main([*command, "--quiet", "--push_to_hub", "ada/second", "--hub_private"]) == 0


def test_a_step_of_a_pipeline_is_pushed_from_its_own_config(
    hub: FakeHub, tiny_model_dir: Path, command: list[str], tmp_path: Path
) -> None:
    (tmp_path / "run.toml").write_text(
        f"""
name = "test"
[[step]]
name = "first"
stage = "sft"
max_steps = 1
eval_fraction = 0.2
inputs = {{ model_name_or_path = "{tiny_model_dir}", dataset_name = "{tmp_path}/rows.jsonl" }}
"""
    )
    out = tmp_path / "out"
    assert cli.main(["run", "--config", f"{tmp_path}/run.toml", "--output_dir", str(out)]) == 0
    written = (out / "first" / "manifest.json").read_text()
    step = ["--config", str(out / "first" / "config.toml"), "--output_dir", str(out / "first")]
    assert cli.main(["sft", *step, "--push_to_hub", "ada/step"]) == 0
    assert hub.files["ada/step"] == on_disk(out / "first" / "model")
    assert (out / "first" / "manifest.json").read_text() == written


def test_python_calls_push_too(hub: FakeHub, tiny_model_dir: Path) -> None:
    rows = [{"prompt": f"user asks {i}", "completion": "know"} for i in range(40)]
    fields: dict[str, Any] = {"eval_fraction": 0.2, "max_steps": 1, "max_length": 64}
    found = accord.sft(tiny_model_dir, rows, push_to_hub="ada/third", hub_private=True, **fields)
    assert hub.private == {"ada/third": True}
    assert hub.files["ada/third"] == on_disk(found.model_path)


@pytest.mark.parametrize(
    ("repo_id", "token", "offline", "message"),
    [
        ("bob/model", TOKEN, False, "may not write there"),
        ("ada/model", "hf_expired", False, "does not know this token"),
        ("ada/model", "", False, "hf auth login"),
        ("ada/model", TOKEN, True, "unset HF_HUB_OFFLINE"),
    ],
)
def test_a_failed_upload_loses_nothing(
    hub: FakeHub,
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    repo_id: str,
    token: str,
    offline: bool,
    message: str,
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    assert cli.main([*command, "--quiet", "--push_to_hub", repo_id]) == 2
    said = capsys.readouterr()
    assert message in said.err and "The model is safe in" in said.err
    assert "hf_" not in said.err + said.out
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["status"] == "finished"
    before = hash_path(tmp_path / "run" / "model")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert cli.main([*command, "--quiet", "--push_to_hub", "ada/model"]) == 0
    assert hash_path(tmp_path / "run" / "model") == before
    assert hub.files["ada/model"]["model.safetensors"]


def test_weights_that_are_refused(hub: FakeHub, tmp_path: Path) -> None:
    """The library hides what its threads met behind an error of its own; the user is told."""
    (tmp_path / "model").mkdir()
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "model" / name).write_text("{}")
    hub.refuses_objects = True
    with pytest.raises(HubError, match="may not write there.*403"):
        pushing.push_model(tmp_path, "ada/model")


def test_no_network(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(HubError, match="could not be reached"):
        pushing.push_model(tmp_path, "ada/model")


def test_a_private_push_never_lands_in_a_public_repository(hub: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    pushing.push_model(tmp_path, "ada/open")
    (tmp_path / "model" / "secret.txt").write_text("secret")
    with pytest.raises(HubError, match="exists and is public"):
        pushing.push_model(tmp_path, "ada/open", private=True)
    assert "secret.txt" not in hub.files["ada/open"]


def test_what_cannot_be_pushed_is_refused_before_any_work(
    command: list[str], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="no repository name"):
        pushing.check_push("sft", "not a name")
    with pytest.raises(ConfigError, match="'sample' leaves no model"):
        pushing.check_push("sample", "ada/model")
    assert cli.main([*command, "--push_to_hub", "a/b/c"]) == 2
    assert not (tmp_path / "run").exists()
