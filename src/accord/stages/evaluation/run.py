"""Evaluation: the same prompts for every policy, figures with intervals, samples side by side."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from accord.annotation.intervals import cluster_bootstrap, wilson_interval
from accord.core import files
from accord.core.device import default_device, seed_everything
from accord.core.errors import ConfigError, describe_choice
from accord.core.interfaces import EngineFactory, Reward
from accord.core.progress import progress_bar
from accord.core.run_dir import RunDir
from accord.core.types import PromptRow
from accord.corpora.prompts import load_prompts
from accord.judges.reward_judge import RewardJudge
from accord.rewards.functions import FunctionReward, load_dotted
from accord.rewards.learned import LearnedReward
from accord.stages.evaluation.config import Config
from accord.stages.evaluation.responses import Response, collect_responses


@dataclass(frozen=True)
class Result:
    """Figures by policy, win rates of each policy against the baseline, and samples.

    A figure is a dict with `mean`, `low`, `high` (95%) and `n`.
    """

    policies: dict[str, dict[str, Any]]
    win_rates: dict[str, dict[str, Any]]
    baseline: str
    prompts: int
    samples: Path


def run(config: Config, run_dir: RunDir, *, engine_factory: EngineFactory) -> Result:
    """Sample every policy on the prompts and measure."""
    seed_everything(config.seed)
    if config.baseline not in config.policies:
        raise ConfigError(
            f"evaluate: no policy {describe_choice(config.baseline, list(config.policies))}"
        )
    rows = load_prompts(config.prompts)
    rows = rows[: config.max_prompts] if config.max_prompts > 0 else rows
    responses = {}
    with progress_bar("evaluating", len(config.policies)) as bar:
        for number, name in enumerate(config.policies, start=1):
            responses[name] = collect_responses(name, rows, config, run_dir, engine_factory)
            bar.update(number)
    columns = {name: _measure(rows, answers, config) for name, answers in responses.items()}
    policies = {
        name: _summarize(rows, responses[name], columns[name], config) for name in config.policies
    }
    for number, (name, figures) in enumerate(policies.items(), start=1):
        run_dir.log(number, {f"{name}/{key}": value["mean"] for key, value in figures.items()})
    samples = run_dir.path / "samples.jsonl"
    files.write_jsonl(samples, _samples(rows, responses, columns, config))
    return Result(
        policies=policies,
        win_rates=_win_rates(rows, responses, columns, config),
        baseline=config.baseline,
        prompts=len(rows),
        samples=samples,
    )


def _measure(
    rows: Sequence[PromptRow], responses: Sequence[Response], config: Config
) -> dict[str, list[float]]:
    """One number a response for every scorer that is configured, and for every behaviour."""
    measured: dict[str, list[float]] = {}
    if config.reward_model:
        measured["reward"] = _score(_reward_model(config.reward_model, config), rows, responses)
    if config.judge_model:
        measured["judge_score"] = _score(_reward_model(config.judge_model, config), rows, responses)
    if config.scorer:
        measured["score"] = _score(FunctionReward(config.scorer), rows, responses)
    if config.behaviours:
        function = load_dotted(config.behaviours)
        names = {key for row in rows for key in row.columns}
        found = function(
            completions=[r.text for r in responses],
            prompts=[list(row.prompt) for row in rows],
            **{name: [row.columns.get(name) for row in rows] for name in names},
        )
        for name in dict.fromkeys(key for each in found for key in each):
            measured[name] = [float(each.get(name, float("nan"))) for each in found]
    return measured


def _reward_model(path: str, config: Config) -> LearnedReward:
    return LearnedReward(path, device=default_device(), max_length=config.max_length)


def _score(reward: Reward, rows: Sequence[PromptRow], responses: Sequence[Response]) -> list[float]:
    """Scores of texts: every policy's responses are encoded alike, whatever its tokenizer."""
    none: list[tuple[int, ...]] = [()] * len(rows)
    return list(
        reward.score(
            [row.prompt for row in rows],
            [response.text for response in responses],
            prompt_ids=none,
            response_ids=none,
            columns=[row.columns for row in rows],
        ).values
    )


def _summarize(
    rows: Sequence[PromptRow],
    responses: Sequence[Response],
    columns: dict[str, list[float]],
    config: Config,
) -> dict[str, dict[str, float]]:
    """Means with intervals: Wilson's for shares, bootstrap by prompt for the rest."""
    figures = {
        name: _share(values) if _is_share(values) else _mean(rows, values, config)
        for name, values in columns.items()
    }
    figures["kl_nats"] = _mean(rows, [r.kl_nats for r in responses], config)
    figures["length"] = _mean(rows, [float(r.tokens) for r in responses], config)
    figures["stop_rate"] = _share([float(r.stopped) for r in responses])
    gap = max(r.largest_gap_nats for r in responses)
    figures["sampler_gap_nats"] = {"mean": gap, "low": gap, "high": gap, "n": len(responses)}
    return figures


def _is_share(values: Sequence[float]) -> bool:
    return all(value in (0.0, 1.0) or np.isnan(value) for value in values)


def _share(values: Sequence[float]) -> dict[str, float]:
    applicable = [value for value in values if not np.isnan(value)]
    low, high = wilson_interval(sum(applicable), len(applicable))
    mean = sum(applicable) / len(applicable)
    return {"mean": mean, "low": low, "high": high, "n": len(applicable)}


def _mean(rows: Sequence[PromptRow], values: Sequence[float], config: Config) -> dict[str, float]:
    low, high = cluster_bootstrap(values, _clusters(rows), seed=config.seed)
    return {"mean": float(np.mean(values)), "low": low, "high": high, "n": len(values)}


def _clusters(rows: Sequence[PromptRow]) -> list[str]:
    return [files.hash_json(list(row.prompt)) for row in rows]


def _win_rates(
    rows: Sequence[PromptRow],
    responses: dict[str, list[Response]],
    columns: dict[str, dict[str, list[float]]],
    config: Config,
) -> dict[str, dict[str, Any]]:
    """Of each policy against the baseline: by the judge model, and by the scorer."""
    rates: dict[str, dict[str, Any]] = defaultdict(dict)
    base = config.baseline
    for name in config.policies:
        if name == base:
            continue
        if config.judge_model:
            judge = RewardJudge(_reward_model(config.judge_model, config))
            preferred = judge.compare(
                [row.prompt for row in rows],
                [r.text for r in responses[name]],
                [r.text for r in responses[base]],
            )
            rates[name]["judge"] = _win_rate(rows, np.array(preferred) - 0.5, config)
            rates[name]["judge"]["mean_p"] = float(np.mean(preferred))
        if config.scorer:
            margin = np.array(columns[name]["score"]) - np.array(columns[base]["score"])
            rates[name]["scorer"] = _win_rate(rows, margin, config)
    return dict(rates)


def _win_rate(rows: Sequence[PromptRow], margin: Any, config: Config) -> dict[str, float]:
    """Share of prompts with a positive margin, ties half; interval by bootstrap over prompts."""
    wins = 0.5 + 0.5 * np.sign(np.where(np.abs(margin) < 1e-9, 0.0, margin))
    return {**_mean(rows, wins.tolist(), config), "ties": float(np.mean(wins == 0.5))}


def _samples(
    rows: Sequence[PromptRow],
    responses: dict[str, list[Response]],
    columns: dict[str, dict[str, list[float]]],
    config: Config,
) -> list[dict[str, Any]]:
    """Prompts spread evenly over the `kind` column, each with every policy's response."""
    by_kind: dict[str, list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        by_kind[str(row.columns.get("kind", ""))].append(i)
    turns = max(len(indices) for indices in by_kind.values())
    order = [group[t] for t in range(turns) for group in by_kind.values() if t < len(group)]
    return [
        {
            "prompt": list(rows[i].prompt),
            "kind": rows[i].columns.get("kind"),
            "responses": {
                name: {
                    "text": responses[name][i].text,
                    **{k: v[i] for k, v in columns[name].items() if k in ("score", "reward")},
                }
                for name in responses
            },
        }
        for i in order[: config.num_samples_shown]
    ]
