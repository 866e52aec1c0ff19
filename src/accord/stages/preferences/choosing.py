"""Which sampled pairs are worth a judgement: where reward models disagree, on unlike prompts."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from accord.annotation.selection import disagreement, diversity, select_pairs
from accord.annotation.tables import Floats
from accord.core.device import default_device
from accord.core.errors import ConfigError
from accord.judges.pairing import Pair
from accord.rewards.ensemble import member_margins
from accord.rewards.learned import LearnedReward
from accord.stages.preferences.config import Config

_WORDS, _TOPICS = 4096, 64


def choose_pairs(pairs: Sequence[Pair], config: Config) -> list[Pair]:
    """At most `max_judged_pairs` of them, in their order; at random where no model is named.

    The columns `propensity` and `chosen_at_random` go with each: means over the whole pool can be
    estimated from what was judged without bias (`annotation.selection`).

    Raises:
        ConfigError: one member alone cannot disagree.
    """
    if not 0 <= config.max_judged_pairs < len(pairs):
        return list(pairs)
    scores = _scores(pairs, config) if config.choose_by else np.ones(len(pairs))
    found = select_pairs(
        scores, config.max_judged_pairs, seed=config.seed, random_share=config.random_share
    )
    told = zip(found.chosen.tolist(), found.propensity.tolist(), found.at_random, strict=True)
    chosen = []
    for place, propensity, is_random in sorted(told):
        row = pairs[place].row
        columns = {**row.columns, "propensity": propensity, "chosen_at_random": is_random}
        chosen.append(replace(pairs[place], row=replace(row, columns=columns)))
    return chosen


def _scores(pairs: Sequence[Pair], config: Config) -> Floats:
    """(N,) disagreement of all members times the prompt's diversity."""
    margins = [_margins(pairs, name, config) for name in config.choose_by]
    members = torch.cat(margins, dim=1).T.double().numpy()
    if len(members) < 2:
        raise ConfigError(
            "preferences: choose_by needs reward models that can disagree: two of them, or one "
            "with members"
        )
    found: Floats = disagreement(members) * diversity(_features(pairs, seed=config.seed))
    return found


def _margins(pairs: Sequence[Pair], name: str, config: Config) -> torch.Tensor:
    model = LearnedReward(name, device=default_device(), max_length=config.max_length)
    return member_margins(
        model,
        [pair.row.prompt for pair in pairs],
        [pair.response_a for pair in pairs],
        [pair.response_b for pair in pairs],
    )


def _features(pairs: Sequence[Pair], *, seed: int) -> Floats:
    """(N, D) of the prompts: their words by TF-IDF, in few dimensions where they are many."""
    texts = [" ".join(message["content"] for message in pair.row.prompt) for pair in pairs]
    words = TfidfVectorizer(max_features=_WORDS, token_pattern=r"(?u)\b\w+\b").fit_transform(texts)
    if min(words.shape) <= _TOPICS:
        dense: Floats = words.toarray()
        return dense
    found: Floats = TruncatedSVD(_TOPICS, random_state=seed).fit_transform(words)
    return found
