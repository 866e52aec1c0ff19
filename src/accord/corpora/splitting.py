"""Which comparisons train, which are held out, and which only a judge model sees."""

from collections.abc import Sequence
from typing import Any

from accord.corpora.pairs import prompt_fraction

# Later stages split the comparisons by prompt again, with the same seed: were this the same hash,
# their held-out share would be empty.
_SPLIT_SEED = 1_000_003


def split(
    rows: Sequence[dict[str, Any]], *, heldout: float, judge: float, seed: int
) -> dict[str, list[dict[str, Any]]]:
    """By prompt: held out, kept for the judge, and the rest for training."""
    parts: dict[str, list[dict[str, Any]]] = {
        "comparisons": [],
        "heldout_comparisons": [],
        "judge_comparisons": [],
    }
    for row in rows:
        place = prompt_fraction(row["prompt"], seed=seed + _SPLIT_SEED)
        if place < heldout:
            parts["heldout_comparisons"].append(row)
        elif place < heldout + judge:
            parts["judge_comparisons"].append(row)
        else:
            parts["comparisons"].append(row)
    return parts
