"""Whose values a project's votes speak: what groups want, and what each loses by a rule."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from accord.annotation.pairs import CATEGORIES
from accord.annotation.plurality import disagreement_map, groups_differ
from accord.annotation.tables import Floats, Votes
from accord.annotation.values import (
    Groups,
    group_agreement,
    group_agreement_interval,
    group_preferences,
    losses_by_rule,
    shown_groups,
)
from accord.core.errors import DataError
from accord.core.files import hash_json
from accord.store.exporting import counts, verdict_of
from accord.store.judgements import Standing

_WORTH = (1.0, 0.0, 0.5)


@dataclass(frozen=True)
class ValuesReport:
    """Figures of groups of at least k people; NaN (null in JSON) where one is not defined.

    `agreement` is within a group on the diagonal and between two off it; `losses` are by rule, then
    by group: the share of its votes that the group's own best responses have more than the rule's.
    """

    groups: list[str]
    people: list[int]
    agreement: list[list[float]]
    agreement_low: list[list[float]]
    agreement_high: list[list[float]]
    p_no_difference: float
    findings: Mapping[str, int]
    plural_tasks: list[dict[str, Any]]
    prompts: int
    losses: Mapping[str, list[float]]

    def as_json(self) -> dict[str, Any]:
        """For a file: no NaN."""
        found: dict[str, Any] = _without_nan(asdict(self))
        return found


def values_report(
    standing: Sequence[Standing],
    declared: Mapping[str, str | None],
    *,
    k: int = 5,
    seed: int = 0,
) -> ValuesReport:
    """The same votes under every rule, and who loses how much.

    Args:
        standing: of one project.
        declared: each annotator's group, None for whoever declared none.
        k: the fewest people of whom a figure may be shown; smaller groups are pooled or left out.
        seed: of intervals and tests.

    Raises:
        DataError: no pair was judged by somebody in a group that may be shown.
    """
    pairs = [s for s in standing if counts(s, "pairwise")]
    shown = shown_groups({s.annotator: declared.get(s.annotator) for s in pairs}, k=k)
    if not shown:
        raise DataError(
            f"no {k} annotators of these pairs declared the same group: nothing can be shown"
        )
    votes = Votes.of(
        [(s.task.id, s.annotator, verdict_of(s)) for s in pairs], categories=CATEGORIES
    )
    groups = Groups.of(votes, shown)
    prompt_of = {s.task.id: hash_json([list(s.task.prompt)]) for s in pairs}
    clusters = [prompt_of[str(name)] for name in groups.votes.tasks]
    low, high = group_agreement_interval(groups, clusters, seed=seed)
    found = disagreement_map(groups, _WORTH, seed=seed)
    preferences = _by_prompt(pairs, shown, groups.names)
    people = Counter(shown.values())
    sizes = np.array([people[name] for name in groups.names], dtype=np.float64)
    return ValuesReport(
        groups=groups.names,
        people=[people[name] for name in groups.names],
        agreement=group_agreement(groups).tolist(),
        agreement_low=low.tolist(),
        agreement_high=high.tolist(),
        p_no_difference=groups_differ(groups, _WORTH, seed=seed),
        findings=dict(Counter(found.findings)),
        plural_tasks=[
            {"task_id": str(name), "preference": preference.tolist(), "p": float(p)}
            for name, preference, p, kind in zip(
                groups.votes.tasks, found.preference, found.p_values, found.findings, strict=True
            )
            if kind == "plural"
        ],
        prompts=len(preferences),
        losses={
            rule: losses.tolist() for rule, losses in losses_by_rule(preferences, sizes).items()
        },
    )


def _by_prompt(
    pairs: Sequence[Standing], shown: Mapping[str, str], names: Sequence[str]
) -> list[Floats]:
    """(groups, options, options) of each prompt's responses."""
    by_prompt: dict[str, list[Standing]] = {}
    for s in pairs:
        if s.annotator in shown:
            by_prompt.setdefault(hash_json([list(s.task.prompt)]), []).append(s)
    found = []
    for said in by_prompt.values():
        options: dict[str, int] = {}
        places = np.array(
            [[options.setdefault(text, len(options)) for text in s.task.responses] for s in said]
        )
        worth = np.array([_WORTH[CATEGORIES.index(verdict_of(s))] for s in said])
        group = np.array([names.index(shown[s.annotator]) for s in said])
        found.append(
            group_preferences(
                places[:, 0], places[:, 1], worth, group, options=len(options), groups=len(names)
            )
        )
    return found


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_nan(inner) for inner in value]
    return value
