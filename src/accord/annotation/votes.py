"""From several verdicts on a pair to one probability, and how far annotators agree."""

from collections.abc import Sequence

from accord.core.types import Verdict

_SHARE = {"a": 1.0, "tie": 0.5, "b": 0.0}


def vote_share(verdicts: Sequence[Verdict]) -> float:
    """Probability that a is the better: its share of the votes, half a vote of doubt on each side.

        p = (wins + ties / 2 + 1/2) / (n + 1)

    The mean of a Beta posterior under Jeffreys' prior: three votes of three give 0.875, not 1.

    Raises:
        ValueError: there is no vote.
    """
    if not verdicts:
        raise ValueError("a pair without a verdict has no probability")
    return (sum(_SHARE[verdict] for verdict in verdicts) + 0.5) / (len(verdicts) + 1)


def percent_agreement(tasks: Sequence[Sequence[Verdict]]) -> float | None:
    """Share of pairs of annotators, over all tasks, that gave the same verdict.

    Returns:
        None when no task has two verdicts.
    """
    same, total = 0, 0
    for verdicts in tasks:
        n = len(verdicts)
        same += sum(verdicts.count(kind) * (verdicts.count(kind) - 1) for kind in set(verdicts))
        total += n * (n - 1)
    return same / total if total else None
