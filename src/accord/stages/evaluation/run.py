"""Evaluation: the same prompts for every policy, figures with intervals, samples side by side."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from accord.core import files
from accord.core.device import seed_everything
from accord.core.errors import ConfigError, DataError
from accord.core.interfaces import EngineFactory
from accord.core.progress import progress_bar
from accord.core.run_dir import RunDir
from accord.core.types import PromptRow
from accord.corpora.judgements import read_judgements
from accord.corpora.pairs import load_comparisons
from accord.corpora.prompts import load_prompts
from accord.judges.recorded import RecordedPeople
from accord.judges.reward_judge import RewardJudge
from accord.models.loading import load_tokenizer
from accord.promotion.figures import of_policy
from accord.promotion.gate import check, read_gate, verdict
from accord.rewards.functions import FunctionReward
from accord.stages.evaluation.config import Config
from accord.stages.evaluation.figures import Figures, interval_of, summarize
from accord.stages.evaluation.responses import Response, collect_responses, reference_logprobs
from accord.stages.evaluation.scoring import (
    Remembered,
    judge_warnings,
    load_behaviours,
    load_learned,
    measure_behaviours,
    score_texts,
)
from accord.training.interrupt import stop_on_signal

Measured = Mapping[str, Sequence[float]]  # name -> one number a response


@dataclass(frozen=True)
class Result:
    """Figures by policy, changes and win rates of the others against the baseline, and samples.

    A figure is a dict with `mean`, `low`, `high` (95%) and `n`. A change is the mean difference
    to the baseline's score, paired by prompt. A win rate counts a tie as half a win and has
    `ties`, their share; the judge's has `mean_p` too, the mean probability, and `by_people`, the
    same put right by people's judgements of some of the pairs. `gate` is what
    `promotion.gate.verdict` gave; `warnings` say whether the judge can judge.
    """

    policies: dict[str, dict[str, Any]]
    changes: dict[str, dict[str, Any]]
    win_rates: dict[str, dict[str, Any]]
    baseline: str
    prompts: int
    cut_prompts: int
    samples: Path
    gate: dict[str, Any] | None = None
    warnings: list[str] = field(default_factory=list)


def run(config: Config, run_dir: RunDir, *, engine_factory: EngineFactory) -> Result:
    """Sample every policy on the prompts, one model at a time, and measure."""
    seed_everything(config.seed)
    _refuse_early(config)
    rows = load_prompts(config.prompts)
    rows = rows[: config.max_prompts] if config.max_prompts >= 0 else rows
    if config.score_by and any(config.score_by not in row.columns for row in rows):
        raise DataError(
            f"{config.prompts}: not every row has the column score_by {config.score_by!r}"
        )
    if not rows:
        raise DataError(f"{config.prompts}: max_prompts 0 leaves no prompt to respond to")
    with stop_on_signal() as stop:
        responses = {
            name: collect_responses(name, rows, config, run_dir, engine_factory, stop)
            for name in config.policies
        }
    references = reference_logprobs(responses, config)
    figures = Figures(rows, seed=config.seed)
    judge = _judge(config)
    scores = _scores(rows, responses, config, judge)
    behaviours = _behaviours(rows, responses, config)
    grouped = _by_group(rows, scores, config)
    policies = {
        name: summarize(
            figures,
            responses[name],
            references[name],
            {**scores[name], **grouped[name]},
            behaviours[name],
        )
        for name in config.policies
    }
    _log_metrics(run_dir, policies)
    samples = run_dir.path / "samples.jsonl"
    files.write_jsonl(samples, _samples(rows, responses, scores, config))
    result = Result(
        policies=policies,
        changes=_changes(figures, grouped, config),
        win_rates=_win_rates(rows, responses, scores, config, judge),
        baseline=config.baseline,
        prompts=len(rows),
        cut_prompts=sum(r.was_cut for answers in responses.values() for r in answers),
        samples=samples,
        warnings=judge_warnings(judge, config.judge_comparisons, seed=config.seed),
    )
    return replace(result, gate=_gate(config, result)) if config.gate else result


def _gate(config: Config, result: Result) -> dict[str, Any]:
    others = (name for name in config.policies if name != config.baseline)
    candidate = config.candidate or next(others)
    measured = {candidate: of_policy(asdict(result), candidate)}
    return verdict(check(read_gate(str(config.gate)), measured))


def _refuse_early(config: Config) -> None:
    """Whatever can be seen to fail is refused before the first response is sampled."""
    if config.gate:
        read_gate(config.gate)
    vocabulary = load_tokenizer(config.reference).get_vocab()
    for name, path in config.policies.items():
        # A reference with tokens of its own still gives every token of the policy a probability.
        if not load_tokenizer(path).get_vocab().items() <= vocabulary.items():
            raise ConfigError(
                f"evaluate: policy {name!r} ({path}) has tokens that the reference "
                f"({config.reference}) does not know, so there is no KL between them; choose a "
                "reference of the policies' family"
            )
    load_comparisons(config.judge_comparisons)
    for model in filter(None, [config.reward_model, config.judge_model]):
        load_tokenizer(model)
    if config.scorer:
        FunctionReward(config.scorer)
    if config.behaviours:
        load_behaviours(config.behaviours)


def _judge(config: Config) -> Remembered | None:
    if not config.judge_model:
        return None
    return Remembered(load_learned(config.judge_model, max_length=config.max_length))


def _scores(
    rows: Sequence[PromptRow],
    responses: Mapping[str, Sequence[Response]],
    config: Config,
    judge: Remembered | None,
) -> dict[str, dict[str, list[float]]]:
    """By policy and then by scorer that is configured: one number a response."""
    rewards: dict[str, Any] = {}
    if config.reward_model:
        learned = load_learned(config.reward_model, max_length=config.max_length)
        rewards["reward"] = Remembered(learned)
    if judge:
        rewards["judge_score"] = judge
    if config.scorer:
        rewards["score"] = FunctionReward(config.scorer)
    scores: dict[str, dict[str, list[float]]] = {name: {} for name in responses}
    with progress_bar("scoring responses", len(responses)) as bar:
        for number, (name, answers) in enumerate(responses.items(), start=1):
            texts = [response.text for response in answers]
            for kind, reward in rewards.items():
                scores[name][kind] = score_texts(reward, rows, texts)
            bar.update(number)
    return scores


def _by_group(
    rows: Sequence[PromptRow], scores: Mapping[str, Measured], config: Config
) -> dict[str, dict[str, list[float]]]:
    """By policy: the scorer's `score`, and `score_GROUP` with NaN at the rows of other groups."""
    if not config.scorer:
        return {name: {} for name in scores}
    groups = [str(row.columns[config.score_by]) if config.score_by else "" for row in rows]
    found: dict[str, dict[str, list[float]]] = {}
    for name in scores:
        values = scores[name]["score"]
        found[name] = {"score": list(values)}
        for group in sorted(set(groups) - {""}):
            pairs = zip(values, groups, strict=True)
            found[name][f"score_{group}"] = [v if g == group else math.nan for v, g in pairs]
    return found


def _changes(
    figures: Figures, grouped: Mapping[str, Measured], config: Config
) -> dict[str, dict[str, Any]]:
    """By other policy: how far the scorer's mean moved, over all prompts and by group."""
    base = grouped[config.baseline]
    return {
        name: {
            kind: figures.mean([new - old for new, old in zip(values, base[kind], strict=True)])
            for kind, values in found.items()
        }
        for name, found in grouped.items()
        if name != config.baseline and found
    }


def _behaviours(
    rows: Sequence[PromptRow], responses: Mapping[str, Sequence[Response]], config: Config
) -> dict[str, dict[str, list[float]]]:
    if not config.behaviours:
        return {name: {} for name in responses}
    function = load_behaviours(config.behaviours)
    return {
        name: measure_behaviours(
            function, rows, [response.text for response in answers], name=config.behaviours
        )
        for name, answers in responses.items()
    }


def _win_rates(
    rows: Sequence[PromptRow],
    responses: Mapping[str, Sequence[Response]],
    scores: Mapping[str, Measured],
    config: Config,
    judge: Remembered | None,
) -> dict[str, dict[str, Any]]:
    """Of each other policy against the baseline: by the judge model, and by the scorer."""
    figures = Figures(rows, seed=config.seed)
    texts = {name: [r.text for r in answers] for name, answers in responses.items()}
    said = [one for name in config.human_judgements for one in read_judgements(name)]
    people = RecordedPeople("people", said) if said else None
    base = config.baseline
    rates: dict[str, dict[str, Any]] = defaultdict(dict)
    for name in config.policies:
        if name == base:
            continue
        if judge:
            preferred = RewardJudge(judge).compare(
                [row.prompt for row in rows],
                texts[name],
                texts[base],
                columns=[row.columns for row in rows],
            )
            hard = figures.win_rate([p - 0.5 for p in preferred], texts[name], texts[base])
            soft = figures.mean(preferred)
            assert hard and soft  # a judge that scores everything, or stops
            rates[name]["judge"] = {**hard, **interval_of(soft, "mean_p")}
            corrected = figures.by_people(people, preferred, rows, texts[name], texts[base])
            rates[name]["judge"] |= interval_of(corrected, "by_people") if corrected else {}
        if config.scorer:
            pairs = zip(scores[name]["score"], scores[base]["score"], strict=True)
            margins = [ours - theirs for ours, theirs in pairs]
            by_scorer = figures.win_rate(margins, texts[name], texts[base])
            if by_scorer:  # else it has nothing to say of any pair
                rates[name]["scorer"] = by_scorer
    return dict(rates)


def _log_metrics(run_dir: RunDir, policies: Mapping[str, Mapping[str, Any]]) -> None:
    """One row a policy, in the order of the config; a resumed run writes them again."""
    run_dir.rewind_metrics(0)
    for number, (name, found) in enumerate(policies.items(), start=1):
        run_dir.log(number, {f"{name}/{key}": value["mean"] for key, value in found.items()})


def _samples(
    rows: Sequence[PromptRow],
    responses: Mapping[str, Sequence[Response]],
    scores: Mapping[str, Measured],
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
                    "text": answers[i].text,
                    "finish": answers[i].finish,
                    **{k: v[i] for k, v in scores[name].items() if not math.isnan(v[i])},
                }
                for name, answers in responses.items()
            },
        }
        for i in order[: config.num_samples_shown]
    ]
