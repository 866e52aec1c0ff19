"""What aggregation is worth to a reward model, where 30% of the annotators are bad.

    python benchmarks/aggregation.py --seeds 0 1 2

Pairs have random features and a true reward; simulated annotators vote; a linear Bradley-Terry
reward is fitted to the votes one by one, to their majority, or to aggregated soft labels. Figures
are accuracies against the truth on fresh pairs, and soft labels' gains with 95% intervals over
those pairs. The default takes seconds.
"""

import argparse
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from accord.annotation.aggregation import dawid_skene, mace, majority, one_coin, p_chosen
from accord.annotation.glad import glad
from accord.annotation.intervals import cluster_bootstrap
from accord.annotation.simulation import SimulatedVotes, crowd_with_bad_ones, simulate_votes

FEATURES = 32
TEST_PAIRS = 5000
SPREAD = 2.0
"""Standard deviation of the true margins, in log-odds: people are of one mind on most pairs."""


class Labels(NamedTuple):
    """Rows to fit: places of pairs, and the probability that a is the better."""

    pair: Any
    p_a: Any


def soft(simulated: SimulatedVotes, found: Any) -> Labels:
    """Each pair once, with its aggregated probability."""
    p = p_chosen(simulated.votes, found, chosen="a", rejected="b")
    return Labels(np.arange(len(p)), p)


def raw(simulated: SimulatedVotes) -> Labels:
    """Each vote for itself."""
    return Labels(simulated.votes.task, 1.0 - simulated.votes.label)


def hard(simulated: SimulatedVotes) -> Labels:
    """Each pair once, with the side that most voted for; half where they are as many."""
    p = p_chosen(simulated.votes, majority(simulated.votes), chosen="a", rejected="b")
    return Labels(np.arange(len(p)), np.where(p == 0.5, 0.5, np.round(p)))


WAYS: dict[str, Callable[[SimulatedVotes], Labels]] = {
    "raw votes": raw,
    "majority": hard,
    "share of votes": lambda s: soft(s, majority(s.votes)),
    "one coin": lambda s: soft(s, one_coin(s.votes)),
    "Dawid-Skene by side": lambda s: soft(s, dawid_skene(s.votes, flipped=s.flipped, swap=(1, 0))),
    "MACE": lambda s: soft(s, mace(s.votes, seed=0)),
    "GLAD": lambda s: soft(s, glad(s.votes).labels),
}
SOFT = "one coin"
"""The aggregation whose gains over raw votes and majority are listed."""


def fit_reward(features: Any, labels: Labels, *, ridge: float = 1.0) -> Any:
    """(FEATURES,) weights of a linear reward, by Bradley-Terry with soft labels."""
    x, p = features[labels.pair], labels.p_a

    def negative(w: Any) -> tuple[float, Any]:
        margin = x @ w
        value = (np.logaddexp(0, margin) - p * margin).sum() + ridge * (w @ w) / 2
        return float(value), x.T @ (expit(margin) - p) + ridge * w

    return minimize(negative, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B").x


def accuracies(
    seed: int, *, pairs: int, annotators: int, per_pair: int, bad_share: float
) -> dict[str, Any]:
    """For each way, (TEST_PAIRS,) whether the reward is on the true side, one seed."""
    rng = np.random.default_rng(seed)
    true = rng.normal(size=FEATURES)
    true *= SPREAD / np.linalg.norm(true)
    x, fresh = rng.normal(size=(pairs, FEATURES)), rng.normal(size=(TEST_PAIRS, FEATURES))
    crowd = crowd_with_bad_ones(annotators, bad_share=bad_share, seed=seed)
    simulated = simulate_votes(crowd, expit(x @ true)[None], per_task=per_pair, seed=seed)
    return {
        name: ((fresh @ fit_reward(x, way(simulated)) > 0) == (fresh @ true > 0)).astype(float)
        for name, way in WAYS.items()
    }


def gain(found: dict[str, Any], other: str) -> tuple[float, float, float]:
    """Accuracy of soft labels less that of another way, and its interval over the fresh pairs."""
    difference = found[SOFT] - found[other]
    return float(difference.mean()), *cluster_bootstrap(difference, range(TEST_PAIRS), seed=0)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--annotators", type=int, default=20)
    parser.add_argument("--per_pair", type=int, default=3)
    parser.add_argument("--bad_share", type=float, default=0.3)
    options = vars(parser.parse_args())
    seeds = options.pop("seeds")
    results = [accuracies(seed, **options) for seed in seeds]
    print(f"{options}\n\n| labels | {' | '.join(f'seed {s}' for s in seeds)} | mean |")
    print("|---" * (len(seeds) + 2) + "|")
    for name in WAYS:
        found = [result[name].mean() for result in results]
        print(f"| {name} | {' | '.join(f'{v:.3f}' for v in found)} | {np.mean(found):.3f} |")
    for other in ("majority", "raw votes"):
        cells = ["{:+.3f} ({:+.3f} to {:+.3f})".format(*gain(result, other)) for result in results]
        mean = np.mean([gain(result, other)[0] for result in results])
        print(f"| {SOFT} less {other} | {' | '.join(cells)} | {mean:+.3f} |")


if __name__ == "__main__":
    main()
