"""What is measured of responses: rewards, a scorer, behaviours, repetition."""

import inspect
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from accord.core.device import default_device
from accord.core.errors import ConfigError, DataError
from accord.core.files import hash_json
from accord.core.interfaces import Reward
from accord.core.types import Message, PromptRow, Row, Scores
from accord.corpora.encoding import ChatEncoder
from accord.corpora.pairs import load_comparisons
from accord.judges.reward_judge import RewardJudge
from accord.models.heads import load_reward_model
from accord.models.loading import load_tokenizer, within_context
from accord.rewards.functions import exchanges, load_dotted
from accord.rewards.learned import LearnedReward
from accord.suites.llmbar import check_judge, gold_pairs, validity_notes

_REPEATED_WORDS = 3
"""A run of this many words that came before in the same response is a repetition."""


class Remembered:
    """A reward that scores each text once, so that identical responses have the same score.

    Scores from differently padded batches differ in the last digits, which would turn a tie into
    a win.
    """

    def __init__(self, reward: Reward) -> None:
        self.reward = reward
        self._known: dict[str, float] = {}

    def score(
        self,
        prompts: Sequence[Sequence[Message]],
        responses: Sequence[str],
        *,
        prompt_ids: Sequence[Sequence[int]],
        response_ids: Sequence[Sequence[int]],
        columns: Sequence[Row],
    ) -> Scores:
        """The inner reward's scores; what is known is not asked again."""
        pairs = zip(prompts, responses, strict=True)
        keys = [hash_json([list(prompt), response]) for prompt, response in pairs]
        first = {key: i for i, key in reversed(list(enumerate(keys))) if key not in self._known}
        if first:
            order = sorted(first.values())
            values = self.reward.score(
                [prompts[i] for i in order],
                [responses[i] for i in order],
                prompt_ids=[prompt_ids[i] for i in order],
                response_ids=[response_ids[i] for i in order],
                columns=[columns[i] for i in order],
            ).values
            self._known |= {keys[i]: value for i, value in zip(order, values, strict=True)}
        return Scores([self._known[key] for key in keys])


def load_learned(path: str, *, max_length: int) -> LearnedReward:
    """A reward model; inputs beyond its context are cut at the prompt's start."""
    model = load_reward_model(path, device=default_device())
    return LearnedReward(
        (model, ChatEncoder(load_tokenizer(path))),
        device=default_device(),
        max_length=within_context(max_length, model.config),
    )


def judge_warnings(judge: Reward | None, comparisons: Sequence[str], *, seed: int) -> list[str]:
    """What a reader must know of a judge before he believes its win rates.

    Args:
        judge: None where there is none, and nothing to be said.
        comparisons: held-out ones, on which it is checked; none leave it unchecked.
        seed: of the order in which it sees them, and of the bootstrap.
    """
    if judge is None:
        return []
    pairs = gold_pairs(load_comparisons(comparisons), seed=seed)
    check = check_judge(RewardJudge(judge, name="model"), pairs, seed=seed) if pairs else None
    return validity_notes("model", check)


def score_texts(reward: Reward, rows: Sequence[PromptRow], texts: Sequence[str]) -> list[float]:
    """Scores of texts: every policy's responses are encoded alike, whatever its tokenizer."""
    no_ids: list[tuple[int, ...]] = [()] * len(rows)
    return list(
        reward.score(
            [row.prompt for row in rows],
            texts,
            prompt_ids=no_ids,
            response_ids=no_ids,
            columns=[row.columns for row in rows],
        ).values
    )


def load_behaviours(name: str) -> Callable[..., Any]:
    """The function of that dotted name.

    Raises:
        ConfigError: the name leads to nothing, or to something that cannot be called.
    """
    function: Any = load_dotted(name)
    if not callable(function):
        raise ConfigError(f"{name!r} is a {type(function).__name__}; expected a function")
    return function  # type: ignore[no-any-return]


def measure_behaviours(
    function: Callable[..., Any], rows: Sequence[PromptRow], texts: Sequence[str], *, name: str
) -> dict[str, list[float]]:
    """By behaviour: one number a response, NaN where the function did not name it.

    The function is called as a reward function is: `f(completions, prompts, **columns)`, all by
    keyword; one without `**kwargs` is given only what it names.

    Raises:
        DataError: it returned something else than one dict of finite numbers a response.
    """
    keys = dict.fromkeys(key for row in rows for key in row.columns)
    arguments: dict[str, Any] = {key: [row.columns.get(key) for row in rows] for key in keys}
    arguments |= exchanges([row.prompt for row in rows], texts)
    parameters = inspect.signature(function).parameters
    if not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        arguments = {key: value for key, value in arguments.items() if key in parameters}
    returned = function(**arguments)
    if not isinstance(returned, Sequence) or len(returned) != len(texts):
        raise DataError(
            f"behaviours {name!r} returned {_described(returned)} for {len(texts)} responses; "
            "expected a list of one dict each"
        )
    for index, found in enumerate(returned):
        if not isinstance(found, Mapping) or not all(_is_finite(v) for v in found.values()):
            raise DataError(
                f"behaviours {name!r} returned {found!r} for response {index}; expected a dict of "
                "finite numbers"
            )
    behaviours = dict.fromkeys(key for found in returned for key in found)
    return {
        key: [float(found.get(key, math.nan)) for found in returned] for key in sorted(behaviours)
    }


def _described(value: Any) -> str:
    kind = type(value).__name__
    return f"a {kind} of {len(value)}" if isinstance(value, Sequence) else f"a {kind}"


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def distinct_share(texts: Sequence[str], *, n: int) -> float | None:
    """Distinct word n-grams over all word n-grams of all texts, in (0, 1]; None without any.

    Source: Li et al. 2016, arXiv:1510.03055 (distinct-n).
    """
    grams = Counter(gram for text in texts for gram in _ngrams(text, n))
    return len(grams) / grams.total() if grams else None


def repetition_rate(text: str) -> float:
    """Share of a text's runs of three words that came before in it; NaN with fewer words."""
    grams = _ngrams(text, _REPEATED_WORDS)
    return 1 - len(set(grams)) / len(grams) if grams else math.nan


def _ngrams(text: str, n: int) -> list[tuple[str, ...]]:
    words = text.split()
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
