"""What is reported of a classifier, and a simple one that it has to beat."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from accord.annotation.calibration import Floats, calibration_error, reliability
from accord.annotation.classification import (
    Bools,
    auroc,
    fpr_at_tpr,
    macro_f1,
    subgroup_figures,
)
from accord.models.classifiers import ClassifierFormat


def figures(
    logits: Tensor,
    targets: Floats,
    form: ClassifierFormat,
    texts: Sequence[str],
    subgroup_terms: Sequence[str],
) -> dict[str, Any]:
    """Quality by label and by subgroup, and calibration before and after the temperatures.

    Args:
        logits: (N, K).
        targets: (N, K) in [0, 1]; above 1/2 is a positive.
        form: with the temperatures.
        texts: N, in which the terms are looked for.
        subgroup_terms: whole words, whatever their case.
    """
    plain = form.model_copy(update={"temperatures": (1.0,) * len(form.labels)})
    given = form.probabilities(logits.double()).numpy()
    is_so = targets > 0.5
    by_label = {
        name: {
            "auroc": auroc(given[:, k], is_so[:, k]),
            "fpr_at_95_tpr": fpr_at_tpr(given[:, k], is_so[:, k]),
            "positives": int(is_so[:, k].sum()),
        }
        for k, name in enumerate(form.labels)
    }
    return {
        **quality(given, targets, exclusive=form.exclusive),
        "by_label": by_label,
        "subgroups": {
            term: {
                name: subgroup_figures(given[:, k], is_so[:, k], _has(term, texts))._asdict()
                for k, name in enumerate(form.labels)
            }
            for term in subgroup_terms
        },
        "calibration": {
            "temperatures": dict(zip(form.labels, form.temperatures, strict=True)),
            "error": _error(plain.probabilities(logits.double()).numpy(), targets, form.exclusive),
            "error_with_temperatures": _error(given, targets, form.exclusive),
        },
    }


def quality(given: Floats, targets: Floats, *, exclusive: bool) -> dict[str, float]:
    """Accuracy, macro F1 and the mean area, of (N, K) probabilities."""
    count = targets.shape[1]
    is_so = targets > 0.5
    areas = [auroc(given[:, k], is_so[:, k]) for k in range(count)]
    if exclusive:
        said, truth = given.argmax(-1), targets.argmax(-1)
        f1 = macro_f1(said, truth, classes=count)
        accuracy = float((said == truth).mean())
    else:
        said = given > 0.5
        # Of each label the positives' F1: that of the negatives says little.
        f1 = float(np.mean([_f1(said[:, k], is_so[:, k]) for k in range(count)]))
        accuracy = float((said == is_so).mean())
    known = [area for area in areas if not np.isnan(area)]
    return {
        "accuracy": accuracy,
        "macro_f1": f1,
        "auroc": float(np.mean(known)) if known else float("nan"),
    }


def class_weights(given: Floats, targets: Floats) -> tuple[float, Floats]:
    """What probabilities are divided by, so that rare classes are named more readily.

    The class with the highest p / (its share of the rows)^balance is named. 0 names the likeliest,
    1 takes all classes to be equally common; the balance is the one with the best sum of accuracy
    and macro F1 on these rows (macro F1 alone buys rare classes at any price).

    Args:
        given: (N, K) probabilities of classes that exclude each other, of rows not tested on.
        targets: (N, K).

    Returns:
        the balance, and (K,) shares to its power.
    """
    shares = np.maximum(targets.mean(0), 1 / len(targets))
    truth, count = targets.argmax(-1), targets.shape[1]

    def quality(balance: float) -> float:
        said = (given / shares**balance).argmax(-1)
        return float((said == truth).mean()) + macro_f1(said, truth, classes=count)

    best = max(np.linspace(0, 1, 21).tolist(), key=quality)
    return best, shares**best


def tfidf_probabilities(
    train: Sequence[str], targets: Floats, test: Sequence[str], *, exclusive: bool
) -> Floats:
    """(M, K) for `test` by logistic regression on words and word pairs (sublinear TF-IDF, C = 1).

    A label that has one value in all of `train` has that probability.

    Args:
        train: N texts.
        targets: (N, K); above 1/2 is a positive, and of classes the likeliest counts.
        test: M texts.
        exclusive: one model of all labels in place of one each.
    """
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    found = np.zeros((len(test), targets.shape[1]))
    try:
        seen, unseen = vectorizer.fit_transform(train), vectorizer.transform(test)
    except ValueError:  # nothing is left of the vocabulary
        found += targets.mean(0)
        return found
    columns = [targets.argmax(-1)] if exclusive else list((targets > 0.5).astype(int).T)
    for k, wanted in enumerate(columns):
        if len(np.unique(wanted)) == 1:
            found[:, wanted[0] if exclusive else k] = 1.0 if exclusive else float(wanted[0])
            continue
        model = LogisticRegression(C=1.0, max_iter=1000).fit(seen, wanted)
        given = model.predict_proba(unseen)
        if exclusive:
            found[:, model.classes_] = given
        else:
            found[:, k] = given[:, 1]
    return found


def _f1(said: Bools, is_so: Bools) -> float:
    named = int(said.sum() + is_so.sum())
    return 2 * int((said & is_so).sum()) / named if named else 0.0


def _has(term: str, texts: Sequence[str]) -> Bools:
    word = re.compile(rf"\b{re.escape(term)}\b", re.IGNORECASE)
    return np.array([bool(word.search(text)) for text in texts])


def _error(given: Floats, targets: Floats, exclusive: bool) -> float:
    """ECE of the likeliest class, or of all labels."""
    if not exclusive:
        return calibration_error(reliability(given.flatten(), targets.flatten()))
    best = given.argmax(-1)
    rows = np.arange(len(given))
    return calibration_error(reliability(given[rows, best], targets[rows, best]))
