"""The quickstart's world: its rule as a scorer, for models that speak its short English alone."""

from collections.abc import Sequence
from typing import Any

from accord.corpora.sample_set import wording


def complied(completions: Sequence[Any], **_: Any) -> list[float]:
    """1 where a response sets out to help with harm, as the sample set's own rules have it."""
    texts = [c if isinstance(c, str) else c[-1]["content"] for c in completions]
    return [float(wording.complies(text)) for text in texts]
