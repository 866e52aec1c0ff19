"""Annotators that are made of code: by the dotted name of their list, and asked about pairs."""

from collections.abc import Sequence
from typing import Any

from accord.core.errors import ConfigError
from accord.core.interfaces import Annotator
from accord.core.types import Judgement, Task
from accord.rewards.functions import load_dotted
from accord.store.code_annotators import verdict_by
from accord.store.display import display_seed, shown_order


def named_annotators(name: str, *, seed: int) -> Sequence[Annotator]:
    """The list of that dotted name, or what a function of that name makes of a seed.

    Raises:
        ConfigError: the name leads to something else, or two annotators have one name.
    """
    loaded: Any = load_dotted(name)
    found = loaded(seed) if callable(loaded) else loaded
    try:
        annotators: list[Annotator] = list(found)
    except TypeError:
        raise ConfigError(
            f"{name!r} is a {type(found).__name__}; expected a list of annotators, "
            "or a function from a seed to one"
        ) from None
    for annotator in annotators:
        lacking = [field for field in ("name", "kind", "judge") if not hasattr(annotator, field)]
        if lacking:
            raise ConfigError(
                f"{name!r}: {annotator!r} has no {lacking[0]!r}; expected annotators "
                "with name, kind and judge(row, response_a, response_b)"
            )
    if len({annotator.name for annotator in annotators}) < len(annotators):
        raise ConfigError(f"{name!r}: two annotators have the same name")
    return annotators


def judgement_by(annotator: Annotator, task: Task) -> Judgement:
    """What an annotator says of a pair, shown in an order that its seed draws.

    Raises:
        DataError: it lacks a column of the prompts, or said something that is no verdict.
    """
    seed = display_seed(task.id, annotator.name)
    left, right = (task.responses[place] for place in shown_order(task, seed))
    row = {**task.columns, "prompt": list(task.prompt)}
    verdict = verdict_by(annotator, row, left, right)
    return Judgement(
        annotator=annotator.name,
        annotator_kind=annotator.kind,
        prompt=task.prompt,
        response_a=left,
        response_b=right,
        verdict=verdict,
        columns=task.columns,
        display_seed=seed,
    )
