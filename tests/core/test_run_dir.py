"""The run directory survives kills and refuses a second writer."""

from pathlib import Path

import pytest

from accord.core.errors import AccordError, CheckpointError
from accord.core.judge_config import JudgeConfig
from accord.core.manifest import fingerprint
from accord.core.run_dir import RunDir


def test_metrics_survive_a_cut_line_and_rewind(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path / "run")
    for step in (1, 2, 3):
        run_dir.log(step, {"loss": float(step)})
    with run_dir.metrics_path.open("a") as file:
        file.write('{"step": 4, "lo')
    assert [row["step"] for row in run_dir.metrics()] == [1, 2, 3]
    run_dir.rewind_metrics(2)
    assert run_dir.metrics() == [{"step": 1, "loss": 1.0}, {"step": 2, "loss": 2.0}]


def test_non_finite_metrics_are_null(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path)
    run_dir.log(1, {"loss": float("nan")})
    assert run_dir.metrics() == [{"step": 1, "loss": None}]


def test_checkpoints_ignore_unfinished_ones(tmp_path: Path) -> None:
    for name in ("checkpoint-10", "checkpoint-9", ".checkpoint-11.tmp", "checkpoint-x"):
        (tmp_path / name).mkdir()
    assert [step for step, _ in RunDir(tmp_path).checkpoints()] == [9, 10]


def test_one_process_at_a_time(tmp_path: Path) -> None:
    first, second = RunDir(tmp_path / "run"), RunDir(tmp_path / "run")
    with first.locked(), pytest.raises(AccordError, match="another process"), second.locked():
        pass
    with second.locked():
        pass


def test_damaged_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text('{"a": ')
    with pytest.raises(CheckpointError, match=r"result\.json: not valid JSON"):
        RunDir(tmp_path).read_json("result.json")


def test_a_slower_judge_is_the_same_run() -> None:
    given = {"judge_url": "http://h/v1", "judge_name": "m"}
    one, slow, other = (
        fingerprint("judge", JudgeConfig(**given, **more), {})  # type: ignore[arg-type]
        for more in (
            {},
            {"judge_requests_per_minute": 6, "judge_concurrency": 1},
            {"judge_votes": 3},
        )
    )
    assert one == slow != other
