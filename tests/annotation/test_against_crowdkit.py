"""Aggregation beside crowd-kit's, choix's too, on the same votes and under the same conventions."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("crowdkit")

import choix
import pandas as pd
from crowdkit.aggregation import (
    GLAD,
    MACE,
    BradleyTerry,
    DawidSkene,
    MajorityVote,
    NoisyBradleyTerry,
    OneCoinDawidSkene,
)
from crowdkit.aggregation.classification.mace import normalize
from scipy.special import logit

from accord.annotation.aggregation import Labels, dawid_skene, mace, majority, one_coin
from accord.annotation.glad import glad
from accord.annotation.strengths import bradley_terry, noisy_bradley_terry, plackett_luce
from accord.annotation.tables import Votes

# pandas warns of what crowd-kit does.
pytestmark = [pytest.mark.oracle, pytest.mark.filterwarnings("ignore")]


def simulated(seed: int, *, tasks: int = 80) -> tuple[Votes, pd.DataFrame]:
    """Three labels, six annotators of known skill, five votes a task.

    The first tasks have the first votes of everybody and everything in sorted order: crowd-kit's
    MACE puts sorted tables beside such as are in the order of appearance.
    """
    rng = np.random.default_rng(seed)
    skills = [0.9, 0.85, 0.8, 0.7, 0.6, 0.45]
    truth = rng.integers(3, size=tasks)
    truth[:3] = np.arange(3)
    rows = []
    for task in range(tasks):
        for who in range(6) if task < 3 else sorted(rng.permutation(6)[:5]):
            right = task < 3 or rng.random() < skills[who]
            label = truth[task] if right else (truth[task] + rng.integers(1, 3)) % 3
            rows.append((task, int(who), int(label)))
    frame = pd.DataFrame(rows, columns=["task", "worker", "label"])
    return Votes.of(rows, categories=[0, 1, 2]), frame


# crowd-kit ends a fit when the evidence a vote rises by less than `tol`: -inf never ends it.


def same(found: Labels, theirs: pd.DataFrame, votes: Votes, **near: float) -> None:
    expected = theirs.loc[votes.tasks, votes.categories].to_numpy()
    assert found.probabilities == pytest.approx(expected, **(near or {"abs": 1e-6}))


def test_majority() -> None:
    votes, frame = simulated(0)
    same(majority(votes), MajorityVote().fit_predict_proba(frame), votes)


@pytest.mark.parametrize("steps", [1, 3, 400])
@pytest.mark.parametrize("seed", [0, 1])
def test_dawid_skene_step_by_step(steps: int, seed: int) -> None:
    """Both start at the majority, and keep confusions above 1e-10."""
    votes, frame = simulated(seed)
    theirs = DawidSkene(n_iter=steps, tol=-np.inf).fit_predict_proba(frame)
    same(dawid_skene(votes, max_steps=steps, tolerance=0.0), theirs, votes)


@pytest.mark.parametrize("steps", [1, 3, 400])
def test_one_coin_step_by_step(steps: int) -> None:
    votes, frame = simulated(2)
    model = OneCoinDawidSkene(n_iter=steps, tol=-np.inf).fit(frame)
    found = one_coin(votes, max_steps=steps, tolerance=0.0)
    same(found, model.probas_, votes)
    assert found.quality == pytest.approx(model.skills_[votes.annotators].to_numpy(), abs=1e-6)


class SmoothedMACE(MACE):  # type: ignore[misc]
    """Its smoothing is fixed at 0.01 / labels for trust and habits; ours is 0.01 of an annotator's
    mean number of votes for trust, shared among the labels for habits.
    """

    def _m_step(self, knew: Any, guessed: Any) -> None:
        added = 0.01 * knew.to_numpy().sum() / len(knew)
        self.spamming_ = normalize(knew.to_numpy(), added)
        self.thetas_ = normalize(guessed.to_numpy(), added / guessed.shape[1])


def test_mace_at_its_optimum() -> None:
    """Expectation and maximisation, not their default of variational Bayes, which ours has not."""
    votes, frame = simulated(3)
    model = SmoothedMACE(method="em", n_restarts=1, n_iter=500).fit(frame)
    found = mace(votes, seed=0, max_steps=2000, tolerance=1e-12)
    same(found, model.probas_, votes)
    assert found.quality == pytest.approx(model.spamming_[:, 1], abs=1e-6)


def test_glad_at_its_fixed_point() -> None:
    """The same priors. Theirs ends a maximisation early, so it is told to end it precisely."""
    votes, frame = simulated(4, tasks=20)
    model = GLAD(n_iter=60, tol=-np.inf, m_step_tol=1e-8, m_step_max_iter=500).fit(frame)
    found = glad(votes, max_steps=5000, tolerance=1e-10)
    assert found.ability == pytest.approx(model.alphas_[votes.annotators].to_numpy(), abs=1e-6)
    assert np.log(found.ease) == pytest.approx(model.betas_[votes.tasks].to_numpy(), abs=1e-6)
    same(found.labels, model.probas_, votes)


def duels(seed: int, count: int = 400) -> Any:
    rng = np.random.default_rng(seed)
    truth = np.array([1.2, 0.4, 0.0, -0.5, -1.1])
    sides = np.array([rng.choice(5, 2, replace=False) for _ in range(count)])
    wins = rng.random(count) < 1 / (1 + np.exp(truth[sides[:, 1]] - truth[sides[:, 0]]))
    return sides[:, 0], sides[:, 1], wins.astype(float), rng.integers(6, size=count)


def frame_of(left: Any, right: Any, wins: Any, annotator: Any) -> pd.DataFrame:
    winner = np.where(wins, left, right)
    return pd.DataFrame({"left": left, "right": right, "label": winner, "worker": annotator})


def test_bradley_terry() -> None:
    """crowd-kit's scores are e^s, and sum to 1; choix's are s without a prior at alpha = 0."""
    left, right, wins, annotator = duels(0)
    found = bradley_terry(left, right, wins, items=5).scores
    theirs = np.log(
        BradleyTerry(n_iter=5000, tol=0).fit_predict(frame_of(left, right, wins, annotator))
    )
    assert found == pytest.approx((theirs - theirs.mean()).to_numpy(), abs=1e-6)
    pairs = [(i, j) if won else (j, i) for i, j, won in zip(left, right, wins, strict=True)]
    assert found == pytest.approx(choix.opt_pairwise(5, pairs, tol=1e-12), abs=1e-6)


def test_plackett_luce() -> None:
    rng = np.random.default_rng(1)
    truth = np.array([1.2, 0.4, 0.0, -0.5, -1.1])
    rankings = [
        [int(i) for i in np.argsort(-(truth + rng.gumbel(size=5)))][: rng.integers(2, 6)]
        for _ in range(200)
    ]
    theirs = choix.opt_rankings(5, rankings, tol=1e-12)
    assert plackett_luce(rankings, items=5) == pytest.approx(theirs - theirs.mean(), abs=1e-6)


def test_noisy_bradley_terry() -> None:
    """The same likelihood; better parameters than theirs, whose slopes of bias and reliability are
    written one place before their own (crowd-kit 1.4.2), so that its search ends off the optimum.
    """
    left, right, wins, annotator = duels(2)
    wins = np.where(annotator < 2, np.random.default_rng(3).random(400) < 0.9, wins).astype(float)
    winner = np.where(wins, left, right)
    table = np.stack([left, right, winner], 1) + 1

    def theirs(scores: Any, biases: Any, skills: Any) -> float:
        x = np.concatenate([[0.0], scores, biases, logit(skills)])
        return NoisyBradleyTerry._compute_log_likelihood(x, table, annotator, 5, 6, 0.0)

    found = noisy_bradley_terry(left, right, wins, annotator, items=5, annotators=6, ridge=1e-9)
    ours = theirs(found.scores, found.left_bias, found.reliability)
    r = found.reliability[annotator]
    left_p = r / (1 + np.exp(found.scores[right] - found.scores[left]))
    left_p += (1 - r) / (1 + np.exp(-found.left_bias[annotator]))
    assert ours == pytest.approx(-np.log(np.where(wins, left_p, 1 - left_p)).sum(), abs=1e-6)

    model = NoisyBradleyTerry(n_iter=1000).fit(frame_of(left, right, wins, annotator))
    skills = model.skills_.clip(1e-9, 1 - 1e-9)
    assert ours < theirs(logit(model.scores_), logit(model.biases_), skills) - 1.0


def test_the_published_figures_of_llmfao(accord_data: Path) -> None:
    """crowd-kit with its defaults: Dawid-Skene .652 after 16 rounds, one coin .678 after 26; ours
    is the same after as many.
    """
    folder = accord_data / "votes/llmfao"
    with (folder / "crowd-comparisons.csv").open() as file:
        rows = [(row["id"], row["worker"], row["winner"]) for row in csv.DictReader(file)]
    with (folder / "gpt4-crowd-comparisons.csv").open() as file:
        gpt4 = {row["id"]: row["winner"] for row in csv.DictReader(file)}
    frame = pd.DataFrame(rows, columns=["task", "worker", "label"])
    votes = Votes.of(rows, categories=["left", "right", "tie"])
    known = [task for task in votes.tasks if gpt4[str(task)] != "tie"]

    def agreement(probabilities: pd.DataFrame) -> float:
        left, right = (probabilities.loc[known, side].to_numpy() for side in ("left", "right"))
        is_left = np.array([gpt4[str(task)] == "left" for task in known])
        equal = np.abs(left - right) < 1e-12
        return float(np.where(equal, 0.5, (left > right) == is_left).mean())

    for model, ours, steps, published in (
        (DawidSkene(), dawid_skene, 16, 0.652),
        (OneCoinDawidSkene(), one_coin, 26, 0.678),
    ):
        model.fit(frame)
        assert len(model.loss_history_) == steps
        assert agreement(model.probas_) == pytest.approx(published, abs=5e-4)
        same(ours(votes, max_steps=steps), model.probas_, votes, abs=1e-6)
