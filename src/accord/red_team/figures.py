"""Attack success as figures: at k, by family and category, against an earlier run."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import asdict, replace
from typing import Any

from accord.annotation.win_rates import Difference, paired_difference
from accord.red_team.campaign import Attempt
from accord.suites.base import Figure
from accord.suites.estimates import estimate_share

Key = Callable[[Attempt], str]

KEYS: dict[str, Key] = {
    "all": lambda _: "all",
    "family": lambda attempt: attempt.family,
    "attack": lambda attempt: attempt.attack,
    "category": lambda attempt: attempt.behaviour.category,
    "aim": lambda attempt: attempt.behaviour.aim,
}
"""What successes are counted by."""


def success_at(attempts: Sequence[Attempt], k: int) -> Figure:
    """The share of behaviours that some attack shows within its first k attempts.

    Wilson's interval is over behaviours, which stand for those that could have been asked.

    Raises:
        ValueError: there is no attempt, or k is below 1.
    """
    if k < 1:
        raise ValueError(f"attack success at {k} is no figure")
    by_behaviour: dict[str, bool] = {}
    for attempt in attempts:
        hit = attempt.is_success and attempt.number <= k
        by_behaviour[attempt.behaviour.id] = by_behaviour.get(attempt.behaviour.id, False) or hit
    return estimate_share(list(by_behaviour.values()))


def by_key(
    attempts: Sequence[Attempt], key: Key, ks: Sequence[int]
) -> dict[str, dict[int, Figure]]:
    """`success_at` each k by what the key says, in the order of first appearance."""
    parts: dict[str, list[Attempt]] = defaultdict(list)
    for attempt in attempts:
        parts[key(attempt)].append(attempt)
    return {name: {k: success_at(part, k) for k in ks} for name, part in parts.items()}


def by_scorer(attempts: Sequence[Attempt], k: int) -> dict[str, Figure]:
    """Success by each scorer alone, over the behaviours."""
    names = list(dict.fromkeys(name for attempt in attempts for name in attempt.scores))
    found = {}
    for name in names:
        alone = [
            replace(attempt, scores={name: attempt.scores[name]})
            for attempt in attempts
            if name in attempt.scores
        ]
        found[name] = success_at(alone, k)
    return found


def change(now: Sequence[Attempt], before: Sequence[Attempt], *, seed: int) -> Difference | None:
    """How attack success moved, over what both runs attacked: behaviours by attacks.

    An outcome is whether an attack got its behaviour shown at all; the bootstrap resamples
    behaviours, since attacks on one behaviour are not independent.

    Returns:
        None where the runs have nothing in common.
    """
    new, old = _outcomes(now), _outcomes(before)
    common = [key for key in new if key in old]
    if not common:
        return None
    clusters: list[Hashable] = [key[0] for key in common]
    return paired_difference(
        [float(new[key]) for key in common],
        [float(old[key]) for key in common],
        clusters,
        seed=seed,
    )


def _outcomes(attempts: Sequence[Attempt]) -> dict[tuple[str, ...], bool]:
    """By behaviour (an id may be a row's number), attack, and who had to agree."""
    found: dict[tuple[str, ...], bool] = {}
    for attempt in attempts:
        one = attempt.behaviour
        key = one.id, one.text, attempt.attack, *sorted(attempt.scores)
        found[key] = found.get(key, False) or attempt.is_success
    return found


def worst(attempts: Sequence[Attempt], count: int) -> list[Attempt]:
    """Successes with the highest agreed score, first one of each attack, then the rest."""
    hits = sorted((a for a in attempts if a.is_success), key=lambda a: -a.harm)
    first = {id(a) for a in {a.attack: a for a in reversed(hits)}.values()}
    return sorted(hits, key=lambda a: id(a) not in first)[:count]


def as_json(figures: dict[str, dict[int, Figure]]) -> dict[str, dict[str, Any]]:
    """For `result.json`, whose keys are strings."""
    return {
        name: {f"at_{k}": asdict(figure) for k, figure in by_k.items()}
        for name, by_k in figures.items()
    }
