"""Recorded responses: reward and gold against sqrt(KL), by the best of n.

Up to twelve recorded responses to each of 605 prompts, each with a stored judge's probability of
preferring it to the prompt's baseline: that is gold. Reward models learn from one part of the
prompts and choose among the responses to the others, for n from 1 to 1,024 draws with replacement;
KL is that of the choice itself, at most ln 12.
"""

import gzip
import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from accord.annotation.over_optimisation import (
    Curve,
    best_of_n_weights,
    fit_curve,
    kl_of_weights,
)

N = sorted({round(2 ** (k / 2)) for k in range(21)})
MEMBERS = 5
TRAINED_ON = 150
"""Prompts with judgements, as many as a small team makes; the rest are held out."""


@dataclass(frozen=True)
class Group:
    """The recorded responses to one prompt."""

    texts: list[str]
    gold: Any
    """(M,) in [0, 1]"""


def load(folder: Path) -> list[Group]:
    """Prompts with at least eight responses."""
    by_prompt: dict[int, list[tuple[str, float]]] = defaultdict(list)
    path = folder / "preferences" / "alpaca-eval-ai" / "judged.jsonl.gz"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            pair = (row["output"], float(row["p_preferred_over_baseline"]))
            by_prompt[row["instruction_id"]].append(pair)
    groups = [rows for _, rows in sorted(by_prompt.items()) if len(rows) >= 8]
    return [Group([t for t, _ in rows], np.array([g for _, g in rows])) for rows in groups]


Scorer = Callable[[list[str]], Any]
"""(M,) scores of texts."""


def log_lengths(texts: list[str]) -> Any:
    """(M,) ln(1 + words)."""
    return np.log1p([len(text.split()) for text in texts])


def fit_reward(groups: list[Group], vectors: TfidfVectorizer) -> tuple[Any, float]:
    """Bradley-Terry on pairs of a prompt's responses: weights of words, and of the log length."""
    differences, signs, weights = [], [], []
    for group in groups:
        features = _features(group.texts, vectors)
        first, second = np.triu_indices(len(group.texts), 1)
        gap = group.gold[first] - group.gold[second]
        kept = np.abs(gap) > 0.05
        differences.append(features[first[kept]] - features[second[kept]])
        signs.append(gap[kept] > 0)
        weights.append(np.abs(gap[kept]))
    rows = sparse.vstack(differences).tocsr()
    model = LogisticRegression(C=1.0, fit_intercept=False, max_iter=500)
    model.fit(rows, np.concatenate(signs), sample_weight=np.concatenate(weights))
    return model.coef_[0, :-1], float(model.coef_[0, -1])


def _features(texts: list[str], vectors: TfidfVectorizer) -> Any:
    lengths = sparse.csr_matrix(log_lengths(texts)[:, None])
    return sparse.hstack([vectors.transform(texts), lengths]).tocsr()


def rewards(groups: list[Group], seed: int) -> dict[str, Scorer]:
    """Reward models learnt from the groups, by name."""
    everything = [text for group in groups for text in group.texts]
    vectors = TfidfVectorizer(sublinear_tf=True, min_df=3, max_features=20_000)
    vectors.fit(everything)
    rng = np.random.default_rng(seed)
    words, slope = fit_reward(groups, vectors)
    members = [
        fit_reward([groups[i] for i in rng.integers(len(groups), size=len(groups))], vectors)
        for _ in range(MEMBERS)
    ]

    def asked(texts: list[str]) -> Any:
        features = _features(texts, vectors)
        return np.stack([features @ np.append(w, b) for w, b in members])

    # What words say of length is taken out, too: the rest of them is what quality may be.
    spoken, lengths = vectors.transform(everything) @ words, log_lengths(everything)
    of_length = float(np.polyfit(lengths, spoken, 1)[0])
    return {
        "naive": lambda texts: vectors.transform(texts) @ words + slope * log_lengths(texts),
        "ensemble, worst of 5": lambda texts: asked(texts).min(axis=0),
        "ensemble, mean - variance": lambda t: asked(t).mean(axis=0) - asked(t).var(axis=0),
        "length-disentangled": lambda texts: (
            vectors.transform(texts) @ words - of_length * log_lengths(texts)
        ),
        "longest": log_lengths,
        "gold": lambda texts: np.zeros(len(texts)),  # replaced by the judge's own scores
    }


@dataclass(frozen=True)
class Way:
    """A reward's way as n grows, each (N,): KL in nats, and gains over one draw."""

    kl: Any
    reward: Any
    gold: Any
    words: Any
    """words of the chosen response over those of one draw"""
    error: float
    """standard error of the last gain in gold, over prompts"""
    accuracy: float
    """held-out pairs that it ranks as gold does"""


def follow(name: str, score: Scorer, groups: list[Group]) -> Way:
    """Choose the best of n by a reward among the responses to every prompt."""
    kl, reward, gold, words = (np.zeros((len(groups), len(N))) for _ in range(4))
    right, pairs = 0, 0
    for place, group in enumerate(groups):
        scores = group.gold if name == "gold" else np.asarray(score(group.texts))
        counts = np.array([len(text.split()) for text in group.texts])
        first, second = np.triu_indices(len(scores), 1)
        gap = group.gold[first] - group.gold[second]
        told = (scores[first] - scores[second]) * gap
        right += int((told[gap != 0] > 0).sum())
        pairs += int((gap != 0).sum())
        for column, n in enumerate(N):
            w = best_of_n_weights(scores, n)
            kl[place, column] = kl_of_weights(w)
            reward[place, column] = w @ scores - scores.mean()
            gold[place, column] = w @ group.gold - group.gold.mean()
            words[place, column] = w @ counts / max(counts.mean(), 1)
    error = float(gold[:, -1].std(ddof=1) / np.sqrt(len(groups)))
    means = (grid.mean(axis=0) for grid in (kl, reward, gold, words))
    return Way(*means, error=error, accuracy=right / pairs)


def table(paths: dict[str, Way], curves: dict[str, Curve]) -> str:
    """Markdown, a row a reward."""
    lines = [
        "| chosen by | pairs right | gold gain at 4 | at 1,024 | SE | words at 1,024 | alpha "
        "| beta | fitted peak, sqrt(nat) |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, p in paths.items():
        c = curves[name]
        peak = f"{c.peak:.2f}" if c.peak < 10 else "beyond"
        lines.append(
            f"| {name} | {p.accuracy:.3f} | {p.gold[N.index(4)]:+.3f} | {p.gold[-1]:+.3f} "
            f"| {p.error:.3f} | x {p.words[-1]:.2f} | {c.alpha:.3f} | {c.beta:.3f} | {peak} |"
        )
    return "\n".join(lines)


def plot(paths: dict[str, Way], curves: dict[str, Curve], path: Path) -> None:
    """Gold with its fitted curve, and the reward in units of its own gain; equal bytes for equal
    data."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.hashsalt": "accord", "font.size": 8}):
        figure = Figure(figsize=(9, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2)
        for name, p in paths.items():
            d = np.sqrt(p.kl)
            points = left.plot(d, p.gold, "o", markersize=3, label=name)
            fine = np.linspace(0, d[-1], 100)
            left.plot(fine, curves[name].gain(fine), color=points[0].get_color(), linewidth=1)
            right.plot(d, p.reward / max(p.reward[-1], 1e-12), marker=".", label=name)
        left.set_title("gold, fitted by d (alpha - beta d)")
        left.set_ylabel("gain in the judge's preference")
        right.set_title("the reward that chooses")
        right.set_ylabel("gain, as a share of its last")
        for axes in (left, right):
            axes.set_xlabel("d = sqrt(KL), best of 1 to 1,024")
        left.legend(frameon=False)
        figure.savefig(path, format="svg", metadata={"Date": None})


def measure(folder: Path, seed: int) -> tuple[str, dict[str, Way], dict[str, Curve]]:
    """The table, and what a plot is made of."""
    groups = load(folder)
    order = np.random.default_rng(seed).permutation(len(groups))
    train = [groups[i] for i in order[:TRAINED_ON]]
    heldout = [groups[i] for i in order[TRAINED_ON:]]
    paths = {name: follow(name, score, heldout) for name, score in rewards(train, seed).items()}
    curves = {name: fit_curve(np.sqrt(p.kl), p.gold, form="best_of_n") for name, p in paths.items()}
    return table(paths, curves), paths, curves
