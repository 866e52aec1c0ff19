"""Detoxify's toxicity as a reward, where that package is installed; ours is `rewards.classifier`.

Its weights come from the network, when it is first built. As a function:
`--reward_funcs accord.rewards.detoxify:harmless`.
"""

import functools
import importlib
from collections.abc import Sequence
from typing import Any

from accord.core.errors import ConfigError
from accord.core.types import Message, Row, Scores


class DetoxifyReward:
    """1 - P(toxic) of each response, read alone; the other labels are among the parts."""

    def __init__(
        self, variant: str = "original", *, label: str = "toxicity", device: str = "cpu"
    ) -> None:
        """Load one of its models.

        Args:
            variant: "original", "unbiased" or "multilingual".
            label: whose absence is the reward.
            device: where to compute.

        Raises:
            ConfigError: the package is not installed, or its weights cannot be fetched.
        """
        try:
            package: Any = importlib.import_module("detoxify")
        except ImportError as error:
            raise ConfigError(
                f"Detoxify cannot be imported ({error}): pip install detoxify, or train a "
                "classifier of your own with `accord classifier`"
            ) from error
        try:
            self.model = package.Detoxify(variant, device=device)
        except Exception as error:
            raise ConfigError(
                f"Detoxify {variant!r} cannot be loaded ({type(error).__name__}: {error}); it "
                "fetches its weights from the network"
            ) from error
        self.label = label

    def score(
        self,
        prompts: Sequence[Sequence[Message]],  # noqa: ARG002 (the protocol's)
        responses: Sequence[str],
        *,
        prompt_ids: Sequence[Sequence[int]],  # noqa: ARG002 (the protocol's)
        response_ids: Sequence[Sequence[int]],  # noqa: ARG002 (the protocol's)
        columns: Sequence[Row],  # noqa: ARG002 (the protocol's)
    ) -> Scores:
        """1 - P(label) of each response.

        Raises:
            ConfigError: the variant has no such label.
        """
        if not responses:
            return Scores([])
        given = self.model.predict(list(responses))
        if self.label not in given:
            raise ConfigError(f"Detoxify has no label {self.label!r}; it has {', '.join(given)}")
        parts = {name: [float(p) for p in values] for name, values in given.items()}
        return Scores([1 - p for p in parts[self.label]], parts=parts)


def harmless(completions: Sequence[Any], **_: Any) -> list[float]:
    """1 - P(toxic) of each completion, by the original model: a reward function."""
    texts = [c if isinstance(c, str) else str(c[0]["content"]) for c in completions]
    none: list[Any] = [()] * len(texts)
    scores = _original().score(none, texts, prompt_ids=none, response_ids=none, columns=none)
    return list(scores.values)


@functools.cache
def _original() -> DetoxifyReward:
    return DetoxifyReward()
