"""Benchmarks: a model answers every suite's questions, and each suite grades by its procedure."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from accord.core import files
from accord.core.device import seed_everything
from accord.core.interfaces import EngineFactory
from accord.core.run_dir import RunDir
from accord.stages.benchmarks.answering import Respondent
from accord.stages.benchmarks.config import JUDGED, Config
from accord.stages.benchmarks.judges import judge_of
from accord.stages.benchmarks.suites import Suites
from accord.suites.base import Answer, Suite, SuiteResult
from accord.training.interrupt import stop_on_signal


@dataclass(frozen=True)
class Result:
    """Of every suite its figures, notes and counts; the graded rows are in `SUITE.jsonl`.

    A figure has `value`, `low`, `high` (95%), `n` (prompts) and `standard_error`. `judge` has the
    name of the judge and what it counted: answers asked again, abstentions, errors.
    """

    suites: dict[str, dict[str, Any]]
    judge: dict[str, Any] | None


def run(config: Config, run_dir: RunDir, *, engine_factory: EngineFactory) -> Result:
    """Answer and grade, one suite after the other; answers on disk are not sampled again."""
    seed_everything(config.seed)
    judge = judge_of(config, run_dir)
    suites = Suites(config, judge)

    def respondent(model: str) -> Respondent:
        return Respondent(
            model,
            engine_factory,
            max_length=config.max_length,
            max_new_tokens=config.max_new_tokens,
            seed=config.seed,
        )

    own = respondent(config.model_name_or_path)
    other = respondent(config.against) if config.against else None
    # Files are read, and the judge checked, before anything is sampled.
    made: dict[str, Suite] = {name: suites.make(name) for name in config.suite}
    found: dict[str, dict[str, Any]] = {}
    with stop_on_signal() as stop:
        for name, suite in made.items():
            if other is not None and name in JUDGED:
                path = run_dir.path / f"answers-{name}-against.jsonl"
                suite = suites.make(name, other.answer_all(suite, path, stop))
            answers = own.answer_all(suite, run_dir.path / f"answers-{name}.jsonl", stop)
            graded = suite.grade(answers)
            files.write_jsonl(run_dir.path / f"{name}.jsonl", list(graded.rows))
            found[name] = _described(graded, answers)
    _log_metrics(run_dir, found)
    told = None if judge is None else {"name": judge.name, "counts": judge.counts()}
    return Result(suites=found, judge=told)


def _described(graded: SuiteResult, answers: Mapping[str, Answer]) -> dict[str, Any]:
    said = [finish for answer in answers.values() for finish in answer.finishes]
    return {
        "figures": {
            name: {k: _finite(v) for k, v in asdict(figure).items()}
            for name, figure in graded.figures.items()
        },
        "notes": list(graded.notes),
        "questions": len(answers),
        "cut_prompts": sum(answer.was_cut for answer in answers.values()),
        "unfinished_responses": said.count("length"),
    }


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _log_metrics(run_dir: RunDir, found: Mapping[str, Mapping[str, Any]]) -> None:
    run_dir.rewind_metrics(0)
    values = {
        f"{suite}/{name}": figure["value"]
        for suite, result in found.items()
        for name, figure in result["figures"].items()
        if figure["value"] is not None
    }
    run_dir.log(1, values)
