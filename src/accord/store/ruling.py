"""From groups' votes on a pair to one probability, by a rule that somebody chose."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from accord.annotation.social_choice import borda, copeland, max_min, maximal_lottery, utilities
from accord.annotation.tables import Floats
from accord.annotation.values import shown_groups
from accord.annotation.votes import vote_share
from accord.core.errors import ConfigError, DataError
from accord.core.types import ValueRule
from accord.store.exporting import counts, verdict_of
from accord.store.judgements import Standing


def ruled(
    standing: Sequence[Standing], declared: Mapping[str, str | None], rule: ValueRule
) -> dict[str, float]:
    """By task, the probability that a is the better, as the rule would have it.

    Each group's say on a pair is the smoothed share of its own votes. "utilitarian" is their mean,
    groups weighing by their people, and "quota" by the quotas that were decided on; the others give
    the probability of a in the rule's lottery over the two. A pair that no group judged keeps the
    share of all its votes.

    Args:
        standing: of one project.
        declared: each annotator's group, None for whoever declared none.
        rule: which, and what it needs.

    Raises:
        DataError: no group is large enough to be shown.
        ConfigError: quotas are not of the groups that there are.
    """
    pairs = [s for s in standing if counts(s, "pairwise")]
    shown = shown_groups({s.annotator: declared.get(s.annotator) for s in pairs}, k=rule.k)
    if not shown:
        raise DataError(
            f"rule {rule.rule!r}: no {rule.k} annotators declared the same {rule.group_by!r}"
        )
    weights = _weights(shown, rule)
    by_task: dict[str, list[Standing]] = {}
    for s in pairs:
        by_task.setdefault(s.task.id, []).append(s)
    found = {}
    for name, said in by_task.items():
        votes = {
            group: [verdict_of(s) for s in said if shown.get(s.annotator) == group]
            for group in weights
        }
        present = [group for group, given in votes.items() if given]
        if not present:
            found[name] = vote_share([verdict_of(s) for s in said])
            continue
        shares = np.array([vote_share(votes[group]) for group in present])
        found[name] = _choice(shares, np.array([weights[group] for group in present]), rule)
    return found


def _weights(shown: Mapping[str, str], rule: ValueRule) -> dict[str, float]:
    sizes = Counter(shown.values())
    if rule.rule != "quota":
        return {group: float(sizes[group]) for group in sorted(sizes)}
    if set(rule.quotas) != set(sizes) or min(rule.quotas.values()) < 0:
        raise ConfigError(
            f"group_quotas: expected one of 0 or more for each of {', '.join(sorted(sizes))}; "
            f"got {', '.join(sorted(rule.quotas)) or 'none'}"
        )
    return {group: float(rule.quotas[group]) for group in sorted(sizes)}


def _choice(shares: Floats, weights: Floats, rule: ValueRule) -> float:
    if not weights.sum():
        weights = np.ones(len(weights))
    if rule.rule in ("utilitarian", "quota"):
        return float(weights @ shares / weights.sum())
    half = np.full(len(shares), 0.5)
    preferences = np.stack(
        [np.column_stack([half, shares]), np.column_stack([1 - shares, half])], axis=1
    )
    lotteries = {
        "borda": lambda: borda(preferences, weights),
        "copeland": lambda: copeland(preferences, weights),
        "max_min": lambda: max_min(utilities(preferences)),
        "maximal_lottery": lambda: maximal_lottery(preferences, weights),
    }
    return float(lotteries[rule.rule]()[0])
