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
from accord.run_config import RunConfig, read_run_config, steps_of


class CopyConfig(StageConfig):
    """Copies a file, with an addition."""

    source: InputPath
    """what to copy"""
    addition: str = ""
    """what to add"""
    scorer: str | None = None
    """dotted name of a function"""


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
    config = read_run_config(file, inputs={}, settings=values)
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


def test_every_step_can_be_asked_for_all_of_its_figures(file: Path, stages: Stages) -> None:
    file.write_text(file.read_text().replace("first.copy", "first.result"))
    run(file)
    copied = (file.parent / "out/second/copy.txt").read_text()
    assert json.loads(copied.removesuffix("-2")) == {"copy": "copy.txt", "length": 6}
    manifest = json.loads((file.parent / "out/second/manifest.json").read_text())
    assert manifest["parents"] == ["first"]


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


def test_a_changed_function_redoes_what_is_finished(
    file: Path, stages: Stages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(file.parent))
    planted, first = file.parent / "planted_scorer.py", file.parent / "out/first"
    planted.write_text("def score(**_): return 1\n")
    scored = {"first__scorer": "planted_scorer:score"}
    run(file, **scored)
    assert all(o.was_skipped for o in run(file, **scored).values())
    planted.write_text("def score(**_): return 2\n")
    assert not run(file, **scored)["first"].was_skipped
    assert stages.ran == ["first", "second", "first"]  # whose copy is as before
    assert first.with_name("first.old-1").is_dir()
    # An unfinished run goes on with the mended function, where it was.
    (first / "result.json").unlink()
    planted.write_text("def score(**_): return 3\n")
    assert not run(file, **scored)["first"].was_skipped
    assert not first.with_name("first.old-2").exists()
    # A manifest from before functions were noted.
    manifest = json.loads((first / "manifest.json").read_text())
    assert manifest.pop("functions").keys() == {"planted_scorer:score"}
    (first / "manifest.json").write_text(json.dumps(manifest))
    planted.write_text("def score(**_): return 4\n")
    assert run(file, **scored)["first"].was_skipped


def test_a_moved_run_is_still_the_same(file: Path, stages: Stages) -> None:
    run(file)
    (file.parent / "out").rename(file.parent / "elsewhere")
    config = read_run_config(file, inputs={}, settings={})
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
        read_run_config(file, inputs={"dat": "x"}, settings={})
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


ROUNDS = """
name = "rounds"
rounds = 2
[inputs]
data = "DATA"
[[step]]
name = "sft"
stage = "copy"
addition = "-sft"
inputs = { source = "inputs.data" }
[[step]]
name = "pairs"
stage = "copy"
each_round = true
addition = "-pairs"
inputs = { source = "last.policy.copy or sft.copy" }
[[step]]
name = "policy"
stage = "copy"
each_round = true
addition = "-policy"
inputs = { source = "pairs.copy" }
[[step]]
name = "evaluate"
stage = "copy"
inputs = { source = "policy.copy" }
"""


@pytest.fixture
def rounds(tmp_path: Path) -> Path:
    (tmp_path / "data.txt").write_text("data")
    path = tmp_path / "rounds.toml"
    path.write_text(ROUNDS.replace("DATA", str(tmp_path / "data.txt")))
    return path


def test_each_round_goes_on_from_the_one_before(
    rounds: Path, stages: Stages, tmp_path: Path
) -> None:
    config = read_run_config(rounds, inputs={}, settings={})
    done = pipeline.run_pipeline(config, tmp_path / "run", where="run")
    again = "-pairs-policy"
    assert list(done) == [
        "sft", "round-1/pairs", "round-1/policy", "round-2/pairs", "round-2/policy", "evaluate",
    ]  # fmt: skip
    text = (tmp_path / "run/evaluate/copy.txt").read_text()
    assert text == "data-sft" + again + again
    seeds = [json.loads((done[s].path / "manifest.json").read_text())["seed"] for s in done]
    assert seeds == [0, 0, 0, 1, 1, 0]
    # A third round later redoes only what comes after the rounds.
    stages.ran.clear()
    third = config.model_copy(update={"rounds": 3})
    pipeline.run_pipeline(third, tmp_path / "run", where="run")
    assert stages.ran == ["pairs", "policy", "evaluate"]


def test_one_round_is_a_run_without_rounds(rounds: Path, stages: Stages, tmp_path: Path) -> None:
    config = read_run_config(rounds, inputs={}, settings={}).model_copy(update={"rounds": 1})
    done = pipeline.run_pipeline(config, tmp_path / "run", where="run")
    assert list(done) == ["sft", "pairs", "policy", "evaluate"]


def test_every_round_so_far_is_a_list() -> None:
    reward = {"name": "reward", "each_round": True, "inputs": {"pairs": ["old", "every.p.out"]}}
    steps = [{"name": "p", "each_round": True}, reward, {"name": "e", "inputs": {"x": ["p.out"]}}]
    found = steps_of(RunConfig(name="n", rounds=3, step=steps), where="f")
    wanted = ["old", "round-1/p.out", "round-2/p.out", "round-3/p.out"]
    assert [s["inputs"]["pairs"] for s in found if "reward" in s["name"]] == [
        wanted[:2], wanted[:3], wanted,
    ]  # fmt: skip
    assert found[-1]["inputs"] == {"x": ["round-3/p.out"]}


def test_rounds_before_this_one_are_a_list() -> None:
    pairs = {"name": "p", "each_round": True, "inputs": {"used": ["earlier.p.prompts"]}}
    found = steps_of(RunConfig(name="n", rounds=3, step=[pairs]), where="f")
    wanted = ["round-1/p.prompts", "round-2/p.prompts"]
    assert [s["inputs"]["used"] for s in found] == [[], wanted[:1], wanted]


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        ([{"name": "p", "each_round": True, "inputs": {"x": "last.p.out"}}], "first round"),
        ([{"name": "p", "each_round": True, "inputs": {"x": "every.p.out"}}], "in a list"),
        ([{"name": "p", "each_round": True, "inputs": {"x": "earlier.p.out"}}], "in a list"),
        (
            [{"name": "p", "each_round": True}, {"name": "q"}, {"name": "r", "each_round": True}],
            "'q': stands between",
        ),
    ],
)
def test_rounds_that_mean_nothing(steps: list[dict[str, Any]], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        steps_of(RunConfig(name="n", rounds=2, step=steps), where="f")


@pytest.mark.parametrize("name", ["attacker", "constitution", "hh", "red-team", "rounds"])
def test_the_configs_that_ship_can_be_run(name: str) -> None:
    path = Path(__file__).parents[1] / f"configs/{name}.toml"
    config = read_run_config(path, inputs={}, settings={})
    steps = pipeline.plan(config, where=str(path))
    assert len(steps) == len({step.name for step in steps}) >= len(config.step)
    if name == "rounds":
        reward = next(step for step in steps if step.name == "round-2/reward")
        assert reward.parents == ["round-1/preferences", "round-2/preferences", "sft"]
