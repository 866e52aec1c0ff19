"""Where people come in: the slice that calibrates, and the pairs that are left to them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from accord.annotation.cross_fitting import Calibrated, calibrate
from accord.annotation.routing import route
from accord.annotation.tables import Floats
from accord.annotation.win_rates import verdicts
from accord.core.device import default_device
from accord.core.errors import DataError
from accord.core.run_dir import RunDir
from accord.core.types import Task
from accord.rewards.ensemble import member_margins
from accord.rewards.learned import LearnedReward
from accord.stages.ai_feedback.config import Config

ROUTED = "routed.json"


def calibrated(
    tasks: Sequence[Task], p: Floats, people: Mapping[str, float], config: Config
) -> Calibrated | None:
    """The judge's probabilities by what people said of other prompts; None where none is wanted.

    Raises:
        DataError: people judged too few of the pairs.
    """
    if config.calibration == "none":
        return None
    labels = np.array([people.get(task.id, np.nan) for task in tasks])
    prompts = [tuple((m["role"], m["content"]) for m in task.prompt) for task in tasks]
    try:
        return calibrate(p, labels, prompts, method=config.calibration, seed=config.seed)
    except ValueError as error:
        raise DataError(
            f"judge: calibration by people's judgements of these pairs: {error}; give "
            "human_judgements, or a project in which people judge them"
        ) from None


def described(found: Calibrated | None, method: str) -> dict[str, Any] | None:
    """A calibration as the result has it."""
    if found is None:
        return None
    return {
        "method": method,
        "pairs": found.labelled,
        "temperature": found.temperature,
        "error": found.error_before,
        "error_calibrated": found.error_after,
        "curve": [b._asdict() for b in found.before],
        "curve_calibrated": [b._asdict() for b in found.after],
    }


def agreement(tasks: Sequence[Task], p: Floats, people: Mapping[str, float]) -> dict[str, Any]:
    """How often judge and people prefer the same side, of pairs on which both prefer one."""
    labels = np.array([people.get(task.id, np.nan) for task in tasks])
    judge, others = verdicts(p), verdicts(labels)
    decided = ~np.isnan(judge + others) & (judge != 0.5) & (others != 0.5)
    share = float((judge == others)[decided].mean()) if decided.any() else None
    return {"share": share, "pairs": int(decided.sum())}


def routed_pairs(
    tasks: Sequence[Task],
    p: Floats,
    people: Mapping[str, float],
    config: Config,
    run_dir: RunDir,
) -> dict[str, dict[str, Any]]:
    """By task, why it goes to people, and its doubt; what they have judged already does not.

    What was decided once stays so: the answers of people change the calibration, and must not
    change whom was asked what.
    """
    if not config.asks_people:
        return {}
    known: dict[str, dict[str, Any]] | None = run_dir.read_json(ROUTED)
    if known is not None:
        return known
    budget = config.people_pairs or round(config.people_share * len(tasks))
    places = [n for n, task in enumerate(tasks) if task.id not in people]
    left = [tasks[n] for n in places]
    models = _ensemble(left, config) if config.reward_ensemble and left else None
    found = route(p[places], models, budget=budget, least_doubt=config.least_doubt)
    chosen = {
        left[place].id: {"reason": found.reasons[place], "doubt": float(found.doubt[place])}
        for place in found.chosen.tolist()
    }
    run_dir.write_json(ROUTED, chosen)
    return chosen


def _ensemble(tasks: Sequence[Task], config: Config) -> Floats:
    """(N,) that the first response is the better: the mean over all members of all models."""
    prompts = [task.prompt for task in tasks]
    a, b = ([task.responses[place] for task in tasks] for place in (0, 1))
    margins = [
        member_margins(
            LearnedReward(name, device=default_device(), max_length=config.max_length),
            prompts,
            a,
            b,
        )
        for name in config.reward_ensemble
    ]
    found: Floats = torch.sigmoid(torch.cat(margins, dim=1).double()).mean(1).numpy()
    return found
