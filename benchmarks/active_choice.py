"""How many labels active choice saves, on simulated pairs with a linear reward.

    python -m benchmarks.active_choice --seeds 0 1 2

Prompts come in clusters of unequal size; each round asks `batch` pairs, by score or at random, of
the same noisy annotators, and refits a small ensemble (bootstraps of the pairs asked). Labels are
counted until the mean over fresh pairs reaches the accuracy of all `budget` random ones.
"""

import argparse
from typing import Any

import numpy as np
from benchmarks.aggregation import FEATURES, SPREAD, TEST_PAIRS, Labels, fit_reward
from scipy.special import expit

from accord.annotation.selection import disagreement, diversity, select_pairs

MEMBERS = 5


def clustered(rng: Any, size: int) -> tuple[Any, Any]:
    """Prompts' features (size, 16) around twenty centres of unequal share, and the pairs' (size,
    FEATURES): half of a pair's features matter on the common clusters only, half on the rare.
    """
    centres = np.random.default_rng(0).normal(size=(20, 16))
    share = 1 / np.arange(1, 21)
    cluster = rng.choice(20, size=size, p=share / share.sum())
    pairs = rng.normal(size=(size, FEATURES))
    pairs[cluster >= 5, : FEATURES // 2] *= 0.1
    pairs[cluster < 5, FEATURES // 2 :] *= 0.1
    return centres[cluster] + 0.3 * rng.normal(size=(size, 16)), pairs


def curve(
    seed: int, *, active: bool, pool: int = 4000, batch: int = 50, budget: int = 1000
) -> list[float]:
    """Accuracy against the truth on fresh pairs after each batch."""
    rng = np.random.default_rng(seed)
    true = rng.normal(size=FEATURES)
    true *= 2 * SPREAD / np.linalg.norm(true)
    prompts, pairs = clustered(rng, pool)
    _, fresh = clustered(rng, TEST_PAIRS)
    answers = (rng.random(pool) < expit(pairs @ true)).astype(float)
    asked = np.zeros(0, dtype=np.int64)
    found, members = [], np.zeros((MEMBERS, FEATURES))
    while len(asked) < budget:
        left = np.setdiff1d(np.arange(pool), asked)
        scores = np.ones(len(left))
        if active and len(asked):
            similar = diversity(prompts[left], prompts[asked])
            scores = disagreement(members @ pairs[left].T) * similar
        drawn = select_pairs(scores, batch, seed=int(rng.integers(2**31)))
        asked = np.append(asked, left[drawn.chosen])
        for member in range(MEMBERS):
            again = rng.choice(asked, len(asked))
            members[member] = fit_reward(pairs, Labels(again, answers[again]))
        reward = fit_reward(pairs, Labels(asked, answers[asked]))
        found.append(float(((fresh @ reward > 0) == (fresh @ true > 0)).mean()))
    return found


def main() -> None:
    """Print labels needed, and the accuracies on the way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--budget", type=int, default=1000)
    options = vars(parser.parse_args())
    seeds = options.pop("seeds")
    means = {
        active: np.mean([curve(seed, active=active, **options) for seed in seeds], axis=0)
        for active in (False, True)
    }
    print("| labels | random | active |\n|---|---|---|")
    for place in range(0, len(means[True]), 2):
        labels = (place + 1) * options["batch"]
        print(f"| {labels} | {means[False][place]:.3f} | {means[True][place]:.3f} |")
    for place in range(5, len(means[False]), 4):
        enough = np.flatnonzero(means[True] >= means[False][place])
        needed = (enough[0] + 1) * options["batch"] if len(enough) else "more than all"
        print(f"\nfor what {(place + 1) * options['batch']} random labels reach, active: {needed}")


if __name__ == "__main__":
    main()
