"""A second gold scorer, made of other stuff than the first: examples instead of rules.

The sample set's generator writes some responses to each prompt, good and bad, and says what each is
worth. A response is worth what the nearest of them are, as far as it is near: no rule of the first
scorer is read, and no model is trained.
"""

import itertools
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

_TEMPERATURE = 0.05
"""Of the softmax over similarities; the nearest few decide."""


def by_examples(text: str, row: Mapping[str, Any]) -> float:
    """Worth of a response, 0..1: max_c s_c * sum_c w_c q_c, w = softmax(s / 0.05).

    Args:
        text: the response.
        row: its `candidates`, each with `text` and `quality` q.

    s is the F1 of words and pairs of neighbouring words, as multisets.
    """
    own = _grams(text)
    candidates = row["candidates"]
    similarity = np.array([_f1(own, _grams(candidate["text"])) for candidate in candidates])
    weights = np.exp((similarity - similarity.max()) / _TEMPERATURE)
    quality = np.array([candidate["quality"] for candidate in candidates])
    return float(similarity.max() * (weights @ quality) / weights.sum())


def _grams(text: str) -> Counter[Any]:
    words: list[Any] = re.findall(r"[a-z0-9']+", text.lower())
    return Counter(words) + Counter(itertools.pairwise(words))


def _f1(a: Counter[Any], b: Counter[Any]) -> float:
    total = a.total() + b.total()
    return 2 * (a & b).total() / total if total else 0.0
