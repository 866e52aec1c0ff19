"""Rankers that a reward model has to beat: the longer wins, and TF-IDF with logistic regression."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix, vstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from accord.core.types import Comparison

Floats = npt.NDArray[np.float64]


def longer_wins(pairs: Sequence[Comparison]) -> Floats:
    """(N,) characters of chosen minus characters of rejected."""
    return np.array([len(p.chosen) - len(p.rejected) for p in pairs], dtype=np.float64)


def tfidf_margins(train: Sequence[Comparison], test: Sequence[Comparison]) -> Floats:
    """(N,) margins of `test` by a linear ranker on words and word pairs of the responses.

    Logistic regression without intercept on the difference of the two responses' TF-IDF vectors
    (sublinear counts, C = 1). Each training pair enters as "chosen is the better" with weight
    p_chosen and as "rejected is" with the rest. All margins are 0 when no two training responses
    share a word.
    """
    texts = [text for p in train for text in (p.chosen, p.rejected)]
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    try:
        vectorizer.fit(texts)
    except ValueError:  # nothing is left of the vocabulary
        return np.zeros(len(test))
    difference = _difference(vectorizer, train)
    p_chosen = np.array([p.p_chosen for p in train])
    model = LogisticRegression(C=1.0, fit_intercept=False, max_iter=1000)
    model.fit(
        vstack([difference, difference]),
        np.repeat([1, 0], len(train)),
        sample_weight=np.concatenate([p_chosen, 1 - p_chosen]),
    )
    margins: Floats = model.decision_function(_difference(vectorizer, test))
    return margins


def _difference(vectorizer: TfidfVectorizer, pairs: Sequence[Comparison]) -> csr_matrix:
    chosen = vectorizer.transform([p.chosen for p in pairs])
    rejected = vectorizer.transform([p.rejected for p in pairs])
    return chosen - rejected


def ranked_right(margins: Floats, pairs: Sequence[Comparison]) -> Floats:
    """(N,) 1 where the margin's sign is the label's, 0 where not, 1/2 for a margin of 0.

    Pairs labelled 1/2 are NaN: they have no right side.
    """
    labels = np.sign(np.array([p.p_chosen for p in pairs]) - 0.5)
    right = 0.5 + 0.5 * np.sign(margins) * labels
    return np.where(labels == 0, np.nan, right)


def accuracy(right: Floats) -> float:
    """Mean over the pairs that have a right side; NaN when none has."""
    decided = right[~np.isnan(right)]
    return float(decided.mean()) if len(decided) else float("nan")
