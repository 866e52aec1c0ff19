"""Accord: the whole RLHF loop in one install, from a base model to an aligned one and a report.

In Python, without files: `accord.sft(model, dataset)`, `accord.dpo(model, comparisons)`,
`accord.ppo(model, prompts, reward_funcs=[f])` and so on; see `accord.api`.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from accord.api import (
        Trained,
        best_of_n,
        classifier,
        dpo,
        grpo,
        kto,
        online_dpo,
        orpo,
        ppo,
        process_reward,
        reinforce,
        reward,
        rloo,
        sft,
        simpo,
    )

__all__ = [
    "Trained",
    "best_of_n",
    "classifier",
    "dpo",
    "grpo",
    "kto",
    "online_dpo",
    "orpo",
    "ppo",
    "process_reward",
    "reinforce",
    "reward",
    "rloo",
    "sft",
    "simpo",
]


def __getattr__(name: str) -> Any:
    # Found when it is asked for: `import accord` and `accord --help` load no torch.
    if name in __all__:
        return getattr(importlib.import_module("accord.api"), name)
    raise AttributeError(f"module 'accord' has no attribute {name!r}")
