"""Benchmarks: a model answers every suite's questions, and each suite grades by its procedure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from accord.core import files
from accord.core.device import seed_everything
from accord.core.errors import ConfigError, DataError, Waiting
from accord.core.interfaces import EngineFactory
from accord.core.run_dir import RunDir
from accord.judges.configured import Judge, judge_of
from accord.models.heads import is_reward_model
from accord.promotion.figures import of_suites
from accord.promotion.gate import check, read_gate, verdict
from accord.stages.benchmarks.answering import Respondent
from accord.stages.benchmarks.config import JUDGED, SCORED, Config
from accord.stages.benchmarks.opponents import other_outcomes
from accord.stages.benchmarks.people import people_of
from accord.stages.benchmarks.suites import Opponent, Suites
from accord.suites.base import Answer, Suite, SuiteResult
from accord.suites.ranking import rank_models
from accord.training.interrupt import stop_on_signal

Answers = Mapping[str, Answer]


@dataclass(frozen=True)
class Result:
    """Of every suite its figures, notes and counts; the graded rows are in `SUITE.jsonl`.

    A figure has `value`, `low`, `high` (95%), `n` (prompts) and `standard_error`. `judge` has the
    name of the judge, what it counted (answers asked again, abstentions, errors, tokens), and the
    tokens' price. Where several models were compared, a suite also has `ranking`, a
    `suites.ranking.ModelRanking`. `gate` is what `promotion.gate.verdict` gave.
    """

    suites: dict[str, dict[str, Any]]
    judge: dict[str, Any] | None
    gate: dict[str, Any] | None = None


def run(config: Config, run_dir: RunDir, *, engine_factory: EngineFactory) -> Result:
    """Answer and grade, one suite after the other; answers on disk are not sampled again.

    Raises:
        Waiting: people have not judged all that was put up for them.
    """
    seed_everything(config.seed)
    conditions = read_gate(config.gate) if config.gate else []
    judge = _judge_of(config, run_dir, engine_factory)
    try:
        found = _evaluated(config, run_dir, judge, engine_factory)
        told = None if judge is None else _told(judge, config)
    finally:
        if judge is not None:
            judge.close()
    _log_metrics(run_dir, found)
    measured = {config.model_name_or_path: of_suites({"suites": found})}
    gate = verdict(check(conditions, measured)) if config.gate else None
    return Result(suites=found, judge=told, gate=gate)


def _judge_of(config: Config, run_dir: RunDir, engine_factory: EngineFactory) -> Judge | None:
    if config.judge_project:
        return people_of(config, config.judge_project)
    return judge_of(
        config,
        run_dir.path / "judgements.jsonl",
        max_length=config.max_length,
        engine_factory=engine_factory,
    )


def _evaluated(
    config: Config, run_dir: RunDir, judge: Judge | None, engine_factory: EngineFactory
) -> dict[str, dict[str, Any]]:
    """Every suite of the config, in its order."""
    suites = Suites(config, judge)
    # Files are read, and the judge checked, before anything is sampled.
    made: dict[str, Suite] = {
        name: _asking(name, suites, config) for name in config.suite if name not in SCORED
    }
    if made and is_reward_model(config.model_name_or_path):
        raise ConfigError(
            f"benchmark: {config.model_name_or_path} is a reward model and answers nothing; it can "
            f"be evaluated by {', '.join(SCORED)}, not by {', '.join(made)}"
        )
    found: dict[str, dict[str, Any]] = {}
    for scored in set(config.suite) & set(SCORED):
        found[scored] = _described(suites.reward_bench(), {}, run_dir, scored)
    with stop_on_signal() as stop:
        answers = _answers(made, config, run_dir, engine_factory, stop)
    for name in made:
        try:
            found[name] = _graded(name, made[name], suites, answers[name], config, run_dir)
        except DataError:
            # Where people have not said anything yet, that is no error.
            if judge is None or not judge.unfilled():
                raise
    _wait_for_people(judge, config)
    return {name: found[name] for name in config.suite}


def _graded(
    name: str,
    suite: Suite,
    suites: Suites,
    answers: Sequence[Answers],
    config: Config,
    run_dir: RunDir,
) -> dict[str, Any]:
    """A suite's figures; its rows go to their file."""
    own, *theirs = answers
    if not theirs:
        return _described(suites.known(suite.grade(own)), own, run_dir, name)
    # All pairs first: people are to have all of their tasks at once.
    others = other_outcomes(name, suites, answers, config)
    comparing = suites.comparing(name, Opponent(config.against[0], theirs[0]))
    graded = comparing.grade(own)
    found = _described(suites.known(graded), own, run_dir, name)
    for model, said in zip(config.against, theirs, strict=True):
        if cut := _cut(said):
            found["notes"].append(f"{cut} prompts were cut to the context of {model}")
    if len(theirs) > 1:
        models = [config.model_name_or_path, *config.against]
        outcomes = {(0, 1): graded.outcomes, **others}
        ranking = rank_models(models, outcomes, baseline=1, seed=config.seed)
        found["ranking"] = asdict(ranking)
    return found


def _wait_for_people(judge: Judge | None, config: Config) -> None:
    if judge is not None and (unfilled := judge.unfilled()):
        raise Waiting(
            f"project {config.judge_project!r} waits for {unfilled} judgements; people give them "
            f"in `accord label --project {config.judge_project}`, and the same command goes on "
            "from here"
        )


def _asking(name: str, suites: Suites, config: Config) -> Suite:
    """A suite as far as its questions go."""
    if name in JUDGED and config.against:
        return suites.comparing(name, Opponent(config.against[0], {}))
    return suites.make(name)


def _answers(
    made: Mapping[str, Suite],
    config: Config,
    run_dir: RunDir,
    engine_factory: EngineFactory,
    stop: object,
) -> dict[str, list[Answers]]:
    """By suite: of the model, and where a judge compares, of each that it is compared with.

    One model is in memory at a time.

    Raises:
        Interrupted: it was asked to stop; the answers so far are on disk.
    """
    found: dict[str, list[Answers]] = {name: [] for name in made}
    for place, model in enumerate([config.model_name_or_path, *config.against]):
        respondent = Respondent(
            model,
            engine_factory,
            max_length=config.max_length,
            max_new_tokens=config.max_new_tokens,
            seed=config.seed,
        )
        for name, suite in made.items():
            if place and name not in JUDGED:
                continue
            file = f"answers-{name}-against-{place}.jsonl" if place else f"answers-{name}.jsonl"
            found[name].append(respondent.answer_all(suite, run_dir.path / file, stop))
    return found


def _told(judge: Judge, config: Config) -> dict[str, Any]:
    counts = judge.counts()
    return {"name": judge.name, "counts": dict(counts), "price": config.price(counts)}


def _described(graded: SuiteResult, answers: Answers, run_dir: RunDir, name: str) -> dict[str, Any]:
    files.write_jsonl(run_dir.path / f"{name}.jsonl", list(graded.rows))
    said = [finish for answer in answers.values() for finish in answer.finishes]
    cut, notes = _cut(answers), list(graded.notes)
    if cut and not any("cut to the model's context" in note for note in notes):
        notes.append(f"{cut} prompts were cut to the model's context")
    return {
        "figures": {
            name: {k: _finite(v) for k, v in asdict(figure).items()}
            for name, figure in graded.figures.items()
        },
        "notes": notes,
        "questions": len(answers),
        "cut_prompts": cut,
        "unfinished_responses": said.count("length"),
    }


def _cut(answers: Answers) -> int:
    return sum(answer.was_cut for answer in answers.values())


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
