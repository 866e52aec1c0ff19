"""How many of people's judgements a judge saves, when the doubtful pairs still go to people.

    python -m benchmarks.hybrid_routing --seeds 0 1 2

The pairs are candidates of the quickstart's sample set, people its simulated annotators (one a
pair, who errs in 5 to 30% of the cases), the truth its rule scorer. The judge is simulated as well:
it reads the truth through noise, likes length, hardly knows the facts, and is twice as sure as it
may be. It is calibrated on CALIBRATION of people's judgements, which are counted. A linear reward
model (TF-IDF of the responses) is trained on: people alone, at several numbers of labels; the judge
with the most doubtful pairs left to people; the same with as many drawn at random. Its accuracy is
that on the truth of other prompts' pairs. The saving is how much fewer labels the hybrid needs for
the accuracy that people alone reach.
"""

import argparse
from collections.abc import Sequence
from random import Random
from typing import Any, NamedTuple

import numpy as np
from scipy.special import expit

from accord.annotation.cross_fitting import calibrate
from accord.annotation.routing import route
from accord.core.types import Comparison
from accord.corpora.sample_set.annotators import ANNOTATORS
from accord.corpora.sample_set.generate import make_rows
from accord.corpora.sample_set.scoring import score
from accord.stages.reward_modeling.baselines import tfidf_margins

CALIBRATION = 100
SHARES = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0)
MEMBERS = 5


class Pool(NamedTuple):
    """Pairs with the truth of them, what a person says, and what the judge says: that a is the
    better."""

    pairs: list[Comparison]
    truth: Any
    people: Any
    judge: Any


def pool(rows: Sequence[Any], count: int, *, noise: float, seed: int) -> Pool:
    """One pair a row, of those that the scorer tells apart; the judge errs by `noise` log-odds."""
    draw, rng = Random(f"hybrid/{seed}"), np.random.default_rng(seed)
    pairs, truth, people, judge = [], [], [], []
    for row in draw.sample(list(rows), len(rows)):
        a, b = (c["text"] for c in draw.sample(row["candidates"], 2))
        gap = score(a, row) - score(b, row)
        if gap == 0 or len(pairs) == count:
            continue
        pairs.append(Comparison(tuple(row["prompt"]), a, b))
        truth.append(float(gap > 0))
        verdict = draw.choice(ANNOTATORS).judge(row, a, b, seed=seed)
        people.append({"a": 1.0, "b": 0.0, "tie": 0.5}[verdict])
        knows = 0.15 if row["kind"] == "knowable_fact" else 1.0
        longer = (len(a.split()) - len(b.split())) / 25
        judge.append(expit(2 * (4 * knows * gap + longer + noise * rng.normal())))
    return Pool(pairs, np.array(truth), np.array(people), np.array(judge))


def accuracy(train: Sequence[Comparison], p_a: Any, test: Pool) -> float:
    """Of a reward model trained on soft labels, on the truth."""
    labelled = [Comparison(p.prompt, p.chosen, p.rejected, float(x))
                for p, x in zip(train, p_a, strict=True)]  # fmt: skip
    margins = tfidf_margins(labelled, test.pairs)
    right = np.where(margins == 0, 0.5, (margins > 0) == (test.truth > 0.5))
    return float(right.mean())


def ensemble(pairs: Sequence[Comparison], p_a: Any, *, seed: int) -> Any:
    """(N,) that a is the better, by rankers trained on halves that the pair is not in."""
    rng = np.random.default_rng([seed, 1])
    total, times = np.zeros(len(pairs)), np.zeros(len(pairs))
    for _ in range(MEMBERS):
        order = rng.permutation(len(pairs))
        for mine, others in ((order[::2], order[1::2]), (order[1::2], order[::2])):
            train = [Comparison(pairs[i].prompt, pairs[i].chosen, pairs[i].rejected, p_a[i])
                     for i in others]  # fmt: skip
            total[mine] += expit(tfidf_margins(train, [pairs[i] for i in mine]))
            times[mine] += 1
    return total / times


def curves(seed: int, count: int, noise: float) -> dict[str, list[float]]:
    """By way, accuracy at each share of people's labels; "judge" has one number."""
    rows = make_rows(seed)
    train = pool([r for r in rows if r["split"] != "test"], count, noise=noise, seed=seed)
    test = pool([r for r in rows if r["split"] == "test"], 10**6, noise=noise, seed=seed)
    rng = np.random.default_rng([seed, 2])
    order = rng.permutation(count)
    slice_ = np.full(count, np.nan)
    slice_[order[:CALIBRATION]] = train.people[order[:CALIBRATION]]
    calibrated = calibrate(train.judge, slice_, range(count), method="temperature", seed=seed).p
    base = np.where(np.isnan(slice_), calibrated, slice_)
    models = ensemble(train.pairs, base, seed=seed)
    doubtful = route(calibrated, models, budget=count, least_doubt=0.0).chosen
    doubtful = np.array([i for i in doubtful if np.isnan(slice_[i])])
    found: dict[str, list[float]] = {"people": [], "hybrid": [], "at random": []}
    for share in SHARES:
        labels = round(share * count)
        alone = order[:labels]
        found["people"].append(accuracy([train.pairs[i] for i in alone], train.people[alone], test))
        for way, asked in (("hybrid", doubtful), ("at random", order[CALIBRATION:])):
            mixed = base.copy()
            mine = asked[: max(labels - CALIBRATION, 0)]
            mixed[mine] = train.people[mine]
            found[way].append(accuracy(train.pairs, mixed, test))
    found["judge"] = [accuracy(train.pairs, base, test)]
    right = (np.sign(train.judge - 0.5) == np.sign(train.truth - 0.5)).mean()
    print(
        f"seed {seed}: {count} pairs, {len(test.pairs)} to test on; the judge is right on "
        f"{right:.3f}, a person on {1 - np.abs(train.people - train.truth).mean():.3f}",
        flush=True,
    )
    return found


def main() -> None:
    """Print accuracy by share of people's labels, and the saving."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--noise", type=float, default=3.0)
    options = parser.parse_args()
    runs = [curves(seed, options.pairs, options.noise) for seed in options.seeds]
    means = {name: np.mean([run[name] for run in runs], axis=0) for name in runs[0]}
    print(f"the judge with {CALIBRATION} labels of people: {means['judge'][0]:.4f}")
    print("| people's labels | people alone | doubtful pairs | as many at random |")
    print("|---|---|---|---|")
    for place, share in enumerate(SHARES):
        cells = " | ".join(f"{means[w][place]:.4f}" for w in ("people", "hybrid", "at random"))
        print(f"| {round(share * options.pairs)} | {cells} |")
    for place, aim in enumerate(means["people"]):
        needed = {
            way: labels_for(aim, means[way], options.pairs) for way in ("hybrid", "at random")
        }
        print(
            f"for what {round(SHARES[place] * options.pairs)} labels of people alone reach "
            f"({aim:.4f}): doubtful pairs {needed['hybrid']}, at random {needed['at random']}"
        )


def labels_for(aim: float, accuracies: Sequence[float], count: int) -> str:
    """People's labels at which a curve reaches an accuracy, between its points by a line."""
    for place, reached in enumerate(accuracies):
        if reached >= aim:
            if place == 0:
                return f"{round(SHARES[0] * count)} or fewer"
            before = accuracies[place - 1]
            part = (aim - before) / (reached - before)
            labels = (SHARES[place - 1] + part * (SHARES[place] - SHARES[place - 1])) * count
            return f"{round(labels)}"
    return "more than all"


if __name__ == "__main__":
    main()
