"""Red team: behaviours by attacks against a target, scorers that must agree, failures as data."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from accord.core.device import seed_everything
from accord.core.errors import DataError
from accord.core.interfaces import EngineFactory
from accord.core.progress import progress_bar
from accord.core.run_dir import RunDir
from accord.red_team.agreement import agreement, load_labelled
from accord.red_team.attack import Attack
from accord.red_team.behaviours import Behaviour, load_behaviours
from accord.red_team.campaign import Attempt, Models, run_campaign
from accord.red_team.figures import by_scorer
from accord.red_team.garak import read_garak
from accord.red_team.over_refusal import ask_safe, load_safe, pairs_against_refusals
from accord.red_team.people import RatedChats, read_rated_chats
from accord.red_team.rubric import Rubric
from accord.red_team.scorers import Scorer
from accord.stages.red_team.config import Config
from accord.stages.red_team.findings import (
    Failures,
    change_since,
    failures_of,
    read_earlier,
    read_frozen,
    regression_figures,
    scored,
    success,
    write_findings,
)
from accord.stages.red_team.parties import attacks_of, parties_of, scorers_of
from accord.stages.red_team.probes import probes_of
from accord.suites.base import SuiteResult
from accord.training.interrupt import stop_on_signal


@dataclass(frozen=True)
class Result:
    """What got through, and the files that it left.

    Figures have value, low, high (95%, Wilson's) and n. `success` is by all, family, attack,
    category, aim and split, then by name, then `at_k`: the share of behaviours that all scorers
    call shown within the first k attempts of some attack. `scorers` has each one's success alone
    and its agreement with people. `change` is the difference to the earlier run, paired by
    behaviour and attack. `counts` are questions by outcome, remembered ones too; `asked` and
    `cut_prompts` are of this process alone, and so less after a restart. `spent` has the tokens of
    the rubric's judge, and their price. `findings` is the folder with attempts.jsonl, worst.jsonl,
    safe.jsonl and the other files.
    """

    findings: Path
    attempts: Path
    prompts: Path
    comparisons: Path
    regression_set: Path
    attacker_prompts: Path
    attacker_demonstrations: Path
    success: dict[str, dict[str, dict[str, Any]]]
    scorers: dict[str, dict[str, Any]]
    over_refusal: dict[str, Any] | None
    regression: dict[str, Any] | None
    change: dict[str, Any] | None
    failures: dict[str, int]
    counts: dict[str, int]
    asked: dict[str, dict[str, int]]
    cut_prompts: int
    spent: dict[str, float]
    warnings: list[str]


@dataclass(frozen=True)
class Campaign:
    """Attempts, and the scorers that judged them."""

    attempts: list[Attempt]
    scorers: Sequence[Scorer]


def run(config: Config, run_dir: RunDir, *, engine_factory: EngineFactory) -> Result:
    """Attack, score, freeze; answers that are on disk are not asked for again."""
    seed_everything(config.seed)
    behaviours = load_behaviours(config.behaviours, config.behaviours_only)
    behaviours = behaviours if config.max_behaviours < 0 else behaviours[: config.max_behaviours]
    labelled = [row for path in config.labelled for row in load_labelled(path)]
    safe = load_safe(config.safe_prompts, config.safe_only) if config.safe_prompts else []
    frozen = read_frozen(config.regression) if config.regression else []
    foreign = read_garak(config.garak) if config.garak else []
    people = None
    if config.people_project:
        people = read_rated_chats(config.people_project, config.database)
        foreign += people.attempts
        labelled += people.labelled
    earlier = read_earlier(config.previous) if config.previous else None
    probes = probes_of(config)
    attacks = attacks_of(config, run_dir.path)
    with stop_on_signal() as stop:
        scorers = scorers_of(config).load(run_dir.path, stop=stop)
        parties = parties_of(config, run_dir.path, engine_factory, stop)
        models = parties.models
        campaigns = [
            _attack(one.behaviours, one.attacks, models, one.scorers, config) for one in probes
        ]
        main = _attack(behaviours, attacks, models, scorers, config)
        main.attempts.extend(scored(foreign, scorers))
        campaigns = [main, *campaigns]
        attempts = [attempt for one in campaigns for attempt in one.attempts]
        if not attempts or not (foreign or models.counts["target answered"]):
            raise DataError(
                "red_team: nothing was answered, or no attack had anything to say (gcg wants "
                f"behaviours with a target): {dict(models.counts)}"
            )
        refusals = ask_safe(safe, models) if safe else None
        again = regression_figures(frozen, [scorers, *(one.scorers for one in probes)], models,
                                   config) if frozen else None  # fmt: skip
        failures = [failures_of(one.attempts, one.scorers, models, config) for one in campaigns]
        if refusals is not None and config.learn_from_safe:
            pairs = pairs_against_refusals(
                safe, refusals, models, draws=config.better_draws, seed=config.seed
            )
            failures.append(Failures(0, [], [], pairs))
    paths = write_findings(run_dir, config, behaviours, attempts, failures, refusals)
    found = success(attempts, config)
    _log_metrics(run_dir, found, refusals)
    return Result(
        **paths,
        success=found,
        scorers=_scorers(scorers, main.attempts, labelled, config),
        over_refusal=None if refusals is None else _figures(refusals),
        regression=again,
        change=change_since(earlier, config, attempts, refusals),
        failures=_counted(failures),
        counts={name: count for name, count in sorted(models.counts.items()) if count},
        asked=parties.asked(),
        cut_prompts=parties.cut_prompts(),
        spent=_spent(scorers, config),
        warnings=_warnings(config, attempts, people, models),
    )


def _attack(
    behaviours: Sequence[Behaviour],
    attacks: Sequence[Attack],
    models: Models,
    scorers: Sequence[Scorer],
    config: Config,
) -> Campaign:
    with progress_bar("attacking", len(behaviours) * len(attacks)) as bar:
        attempts = run_campaign(
            behaviours,
            attacks,
            models,
            scorers,
            budget=config.attempts,
            seed=config.seed,
            on_step=lambda running, whole: bar.update(whole - running),
        )
    return Campaign(attempts, scorers)


def _scorers(
    scorers: Sequence[Scorer],
    attempts: Sequence[Attempt],
    labelled: Sequence[Any],
    config: Config,
) -> dict[str, dict[str, Any]]:
    alone = by_scorer(attempts, config.attempts)
    return {
        scorer.name: {
            "measures": scorer.measures,
            "success_alone": asdict(alone[scorer.name]) if scorer.name in alone else None,
            "with_people": asdict(agreement(scorer, labelled)) if labelled else None,
        }
        for scorer in scorers
    }


def _figures(result: SuiteResult) -> dict[str, Any]:
    figures = {name: asdict(figure) for name, figure in result.figures.items()}
    return {"figures": figures, "notes": list(result.notes)}


def _counted(failures: Sequence[Failures]) -> dict[str, int]:
    return {
        "successful_attempts": sum(one.successes for one in failures),
        "distinct": sum(len(one.distinct) for one in failures),
        "prompts": sum(len(one.prompts) for one in failures),
        "comparisons": sum(len(one.comparisons) for one in failures),
    }


def _spent(scorers: Sequence[Scorer], config: Config) -> dict[str, float]:
    rubrics = [scorer for scorer in scorers if isinstance(scorer, Rubric)]
    return config.spent(rubrics[0].tokens if rubrics else {})


def _warnings(
    config: Config, attempts: Sequence[Attempt], people: RatedChats | None, models: Models
) -> list[str]:
    found = []
    if len(config.scorers) < 2:
        found.append(f"success is by {config.scorers[0]} alone: no second scorer had to agree")
    if people is None and not config.labelled:
        found.append("no scorer was measured on people's labels: give labelled, or people_project")
    if people is not None and people.targets != [models.target.name]:
        found.append(f"people chatted with {', '.join(people.targets) or 'nobody named'}")
    if not config.safe_prompts:
        found.append("refusals of harmless prompts were not counted: give safe_prompts")
    if declined := models.counts["target refused"]:
        found.append(f"the target's endpoint declined {declined} questions: such attempts failed")
    unsure = sum(attempt.harm != attempt.harm for attempt in attempts)
    if unsure:
        found.append(f"{unsure} of {len(attempts)} attempts have a scorer that abstained")
    return found


def _log_metrics(run_dir: RunDir, found: Mapping[str, Any], refusals: SuiteResult | None) -> None:
    run_dir.rewind_metrics(0)
    values = {
        f"success/{key}/{name}/{at}": figure["value"]
        for key, parts in found.items()
        for name, by_k in parts.items()
        for at, figure in by_k.items()
    }
    if refusals:
        values |= {name: figure.value for name, figure in refusals.figures.items()}
    run_dir.log(1, values)
