"""Other models that a judge compares with: which pairs, and what it says of them."""

import itertools
from collections.abc import Mapping, Sequence

from accord.stages.benchmarks.config import Config
from accord.stages.benchmarks.suites import Opponent, Suites
from accord.suites.base import Answer, Outcome

Pair = tuple[int, int]


def other_outcomes(
    name: str, suites: Suites, answers: Sequence[Mapping[str, Answer]], config: Config
) -> dict[Pair, Sequence[Outcome]]:
    """What the judge says of all pairs but the evaluated model and the first of `against`.

    Args:
        name: of the suite.
        suites: makes it for each opponent.
        answers: of the evaluated model, then of those of `against`, in order.

    Returns:
        Outcomes by the places of the two models in that order.
    """
    models = [config.model_name_or_path, *config.against]
    found: dict[Pair, Sequence[Outcome]] = {}
    for first, second in pairs_of(len(models), config.pairs):
        if (first, second) != (0, 1):
            suite = suites.comparing(name, Opponent(models[second], answers[second]))
            found[first, second] = suite.outcomes(answers[first])
    return found


def pairs_of(models: int, pairs: str) -> list[Pair]:
    """Places of who is compared with whom: all, or each with the first of `against`."""
    if pairs == "all":
        return list(itertools.combinations(range(models), 2))
    return [(0, 1), *((place, 1) for place in range(2, models))]
