"""Oversight: accuracy of a weak judge with each aid, and the recall of planted flaws."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from accord.core.device import seed_everything
from accord.core.errors import ConfigError, DataError
from accord.core.interfaces import ChatClient, EngineFactory, PairJudge
from accord.core.run_dir import RunDir
from accord.judges.clients import client_of
from accord.judges.configured import Judge, judge_of
from accord.judges.debate import Aid, AidedJudge, Critic, Debate
from accord.judges.remembered import Memory, RememberedClient, RememberedJudge
from accord.stages.oversight.config import Config
from accord.suites.gsm8k import load_word_problems
from accord.suites.llmbar import GoldPair, read_llmbar
from accord.suites.oversight import find_flaws, graded_solutions, measure_aids, plant_flaws
from accord.suites.rows import find_file
from accord.training.interrupt import stop_on_signal

_MAX_LENGTH = 4096


@dataclass(frozen=True)
class Result:
    """By set: accuracy alone and with each aid, and the share of the gap to the truth that an aid
    makes good (`share`, `low`, `high`); `flaws` has the assistant's recall of planted flaws and its
    false alarms on sound solutions, None where none were planted. `spent` has the judge's tokens
    and their price.
    """

    sets: dict[str, dict[str, Any]]
    flaws: dict[str, Any] | None
    judge: str
    assistant: str
    counts: dict[str, int]
    spent: dict[str, float]


def run(config: Config, run_dir: RunDir, *, engine_factory: EngineFactory) -> Result:
    """Judge every set alone and with each aid; answers on disk are not asked for again."""
    seed_everything(config.seed)
    sets = {name: _pairs(name, config) for name in config.sets}
    flawed = _flawed(config) if config.max_flaws else []
    with stop_on_signal() as stop:
        judge = judge_of(config, run_dir.path / "answers.jsonl", max_length=_MAX_LENGTH, stop=stop)
        assert judge is not None  # the config has one
        memory = Memory(run_dir.path / "remarks.jsonl", stop=stop)
        assistant = _assistant(config, engine_factory, memory)
        aided = _aided(config, judge, assistant, memory)
        found: dict[str, dict[str, Any]] = {
            name: _measured(pairs, judge, aided, config) for name, pairs in sets.items()
        }
        flaws = asdict(find_flaws(assistant, flawed)) if flawed else None
    _log_metrics(run_dir, found, flaws)
    counts = dict(judge.counts())
    return Result(found, flaws, judge.name, assistant.name, counts, config.spent(counts))


def _pairs(name: str, config: Config) -> list[GoldPair]:
    folder = Path(config.benchmarks)
    if name == "llmbar":
        pairs = read_llmbar(folder / "llmbar")
    else:
        pairs = graded_solutions(_file(folder, "example_model_solutions"), seed=config.seed)
    pairs = pairs if config.max_pairs < 0 else pairs[: config.max_pairs]
    if not pairs:
        raise DataError(f"{folder}: no pairs of {name} to judge")
    return pairs


def _flawed(config: Config) -> list[Any]:
    problems = load_word_problems(_file(Path(config.benchmarks), "test"))
    return plant_flaws(problems, seed=config.seed)[: 2 * config.max_flaws]


def _file(folder: Path, name: str) -> Path:
    found = find_file(folder / "gsm8k", name)
    if found is None:
        raise DataError(f"{folder / 'gsm8k'}: no {name}.jsonl, .json or .csv")
    return found


def _assistant(config: Config, engine_factory: EngineFactory, memory: Memory) -> RememberedClient:
    client = client_of(
        config.assistant,
        engine_factory,
        url=config.assistant_url,
        name=config.assistant_name,
        key_variable=config.assistant_key_variable,
    )
    return RememberedClient(client, memory)


def _aided(
    config: Config, judge: Judge, assistant: ChatClient, memory: Memory
) -> dict[str, PairJudge]:
    if judge.reader is None:
        raise ConfigError(f"oversight: {judge.name} reads no remarks; give a judge that reads")
    length = config.max_completion_length
    makers: dict[str, Aid] = {
        "critique": Critic(assistant, max_tokens=length),
        "debate": Debate(assistant, rounds=config.debate_rounds, max_tokens=length),
    }
    aided: dict[str, PairJudge] = {
        name: AidedJudge(judge.reader, makers[name]) for name in config.aids
    }
    if judge.client is not None:  # it remembers its answers itself, and counts what they cost
        return aided
    return {name: RememberedJudge(one, memory) for name, one in aided.items()}


def _measured(
    pairs: Sequence[GoldPair], judge: Judge, aided: Mapping[str, PairJudge], config: Config
) -> dict[str, Any]:
    aids = measure_aids(pairs, judge.pairs, aided, seed=config.seed)
    return {
        "pairs": aids.pairs,
        "accuracy": {aid: asdict(figure) for aid, figure in aids.accuracy.items()},
        "recovered": {aid: _finite(share._asdict()) for aid, share in aids.recovered.items()},
        "abstained": dict(aids.abstained),
    }


def _finite(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def _log_metrics(
    run_dir: RunDir, found: Mapping[str, Mapping[str, Any]], flaws: Mapping[str, Any] | None
) -> None:
    run_dir.rewind_metrics(0)
    values = {
        f"{name}/{aid}/accuracy": figure["value"]
        for name, aids in found.items()
        for aid, figure in aids["accuracy"].items()
    }
    if flaws is not None:
        values |= {f"flaws/{key}": flaws[key]["value"] for key in ("recall", "false_alarms")}
    run_dir.log(1, values)
