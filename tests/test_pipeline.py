"""The pipeline: a plan that is checked before anything runs, skipping, resuming, redoing."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from accord import pipeline
from accord.core.config import InputPath, StageConfig
from accord.core.errors import AccordError, ConfigError, DataError, Interrupted
from accord.core.run_dir import RunDir


class CopyConfig(StageConfig):
    """Copies a file, with an addition."""

    source: InputPath
    """what to copy"""
    addition: str = ""
    """what to add"""


@dataclasses.dataclass(frozen=True)
class CopyResult:
    """The copy and its length."""

    copy: Path
    length: int


class Stages:
    """Two stages, `copy` and `stop`; counts what ran."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.stops = False

    def config(self, stage: str) -> type[StageConfig]:
        if stage != "copy":
            raise ConfigError(f"no stage {stage!r}")
        return CopyConfig

    def run(self, _stage: str) -> Any:
        def copy(config: CopyConfig, run_dir: RunDir) -> CopyResult:
            self.ran.append(run_dir.path.name)
            if self.stops:
                raise Interrupted("stopped")
            text = Path(config.source).read_text() + config.addition
            (run_dir.path / "copy.txt").write_text(text)
            return CopyResult(run_dir.path / "copy.txt", len(text))

        return copy


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> Stages:
    stages = Stages()
    monkeypatch.setattr(pipeline, "stage_config", stages.config)
    monkeypatch.setattr(pipeline, "stage_run", stages.run)
    monkeypatch.setattr(pipeline, "stage_outputs", lambda _: ["copy"])
    return stages


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "data.txt").write_text("data")
    path = tmp_path / "run.toml"
    path.write_text(
        f"""
name = "test"
[inputs]
data = "{tmp_path / "data.txt"}"
[[step]]
name = "first"
stage = "copy"
addition = "-1"
inputs = {{ source = "inputs.data" }}
[[step]]
name = "second"
stage = "copy"
addition = "-2"
inputs = {{ source = "first.copy" }}
"""
    )
    return path


def run(file: Path, *, force: tuple[str, ...] = (), **settings: str) -> dict[str, Any]:
    values = {key.replace("__", "."): value for key, value in settings.items()}
    config = pipeline.read_run_config(file, inputs={}, settings=values)
    return pipeline.run_pipeline(config, file.parent / "out", where=str(file), force=force)


def test_steps_feed_each_other_and_are_skipped_afterwards(file: Path, stages: Stages) -> None:
    outcomes = run(file)
    assert (file.parent / "out/second/copy.txt").read_text() == "data-1-2"
    assert outcomes["second"].result == {"copy": "copy.txt", "length": 8}
    manifest = json.loads((file.parent / "out/second/manifest.json").read_text())
    assert manifest["parents"] == ["first"]
    assert len(manifest["inputs"]["source"][0]["sha256"]) == 64
    assert all(o.was_skipped for o in run(file).values())
    assert stages.ran == ["first", "second"]


def test_changed_data_redoes_what_reads_it_and_keeps_the_old(file: Path, stages: Stages) -> None:
    run(file)
    (file.parent / "data.txt").write_text("other")
    run(file)
    assert stages.ran == ["first", "second"] * 2
    assert (file.parent / "out/second/copy.txt").read_text() == "other-1-2"
    assert (file.parent / "out/second.old-1/copy.txt").read_text() == "data-1-2"


def test_a_changed_setting_redoes_from_its_step(file: Path, stages: Stages) -> None:
    run(file)
    run(file, second__addition="-3")
    assert stages.ran == ["first", "second", "second"]


def test_a_moved_run_is_still_the_same(file: Path, stages: Stages) -> None:
    run(file)
    (file.parent / "out").rename(file.parent / "elsewhere")
    config = pipeline.read_run_config(file, inputs={}, settings={})
    outcomes = pipeline.run_pipeline(config, file.parent / "elsewhere", where="x")
    assert all(o.was_skipped for o in outcomes.values())


def test_force_redoes_one_step_and_what_changes_by_it(file: Path, stages: Stages) -> None:
    run(file)
    run(file, force=("first",))
    # The redone step gave the same content, so the step after it has nothing to do.
    assert stages.ran == ["first", "second", "first"]


def test_an_interrupted_step_runs_again_in_the_same_directory(file: Path, stages: Stages) -> None:
    stages.stops = True
    with pytest.raises(Interrupted):
        run(file)
    stages.stops = False
    run(file)
    assert stages.ran == ["first", "first", "second"]
    assert not (file.parent / "out/first.old-1").exists()


def test_everything_is_checked_before_anything_runs(file: Path, stages: Stages) -> None:
    text = file.read_text()
    for old, new, message in [
        ('addition = "-2"', 'additon = "-2"', r"step 'second': unknown key 'additon'.*'addition'"),
        ('"first.copy"', "3", r"step 'second': source: "),
        ("inputs.data", "inputs.dta", r"step 'first': no input 'dta'; did you mean 'data'"),
        ('name = "second"', 'name = "first"', r"'first': the name is taken"),
        ('stage = "copy"', 'stage = "cpoy"', r"no stage 'cpoy'"),
        ('name = "test"', 'nme = "test"', r"unknown key 'nme'|name: Field required"),
    ]:
        file.write_text(text.replace(old, new, 1))
        with pytest.raises(ConfigError, match=message):
            run(file)
    assert stages.ran == []


def test_unknown_flags_are_named(file: Path, stages: Stages) -> None:
    with pytest.raises(ConfigError, match="no step 'secnd'; did you mean 'second'"):
        run(file, secnd__addition="x")
    with pytest.raises(ConfigError, match="no input 'dat'"):
        pipeline.read_run_config(file, inputs={"dat": "x"}, settings={})
    with pytest.raises(ConfigError, match="--force: no step 'third'"):
        run(file, force=("third",))


def test_an_output_that_is_not_there_is_named(file: Path, stages: Stages) -> None:
    file.write_text(file.read_text().replace("first.copy", "first.cpy"))
    with pytest.raises(ConfigError, match="step 'first' has no output 'cpy'; did you mean 'copy'"):
        run(file)
    assert stages.ran == []


def test_a_stage_alone_refuses_another_run_s_directory(tmp_path: Path, stages: Stages) -> None:
    (tmp_path / "data.txt").write_text("data")
    config = CopyConfig(source=str(tmp_path / "data.txt"))
    pipeline.execute("copy", config, tmp_path / "out")
    other = config.model_copy(update={"addition": "x"})
    with pytest.raises(AccordError, match="another config"):
        pipeline.execute("copy", other, tmp_path / "out")
    assert pipeline.execute("copy", other, tmp_path / "out", force=True).result["length"] == 5


def test_a_refused_input_leaves_the_directory_to_a_corrected_one(
    tmp_path: Path, stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data.txt").write_text("wrong")

    def refuse(*_: Any, **__: Any) -> None:
        raise DataError("row 1")

    config = CopyConfig(source=str(tmp_path / "data.txt"))
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "stage_run", lambda _: refuse)
        with pytest.raises(DataError, match="row 1"):
            pipeline.execute("copy", config, tmp_path / "out")
    (tmp_path / "data.txt").write_text("right")
    assert pipeline.execute("copy", config, tmp_path / "out").result["length"] == 5
