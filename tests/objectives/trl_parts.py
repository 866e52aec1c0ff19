"""TRL's own loss code, run on tensors of ours: its trainers without their constructors.

A trainer's loss method reads a model's outputs and some attributes of the trainer; here the model
hands out the tensors of a test and the attributes are set by hand. What TRL computes in the middle
of a long method is cut out of its source, from one line to another, and run as it stands. A later
TRL that is built otherwise makes these tests fail or skip, never pass for nothing.
"""

import inspect
import textwrap
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor


def bare(trainer_class: Any, **attributes: Any) -> Any:
    """A trainer that never ran its constructor, with a single process around it."""
    trainer = object.__new__(trainer_class)
    accelerator = SimpleNamespace(
        device=torch.device("cpu"),
        num_processes=1,
        gather=lambda x: x,
        gather_for_metrics=lambda x: x,
        reduce=lambda x, reduction="sum": x,
    )
    common = {
        "accelerator": accelerator,
        "model": SimpleNamespace(training=True),
        "aux_loss_enabled": False,
        "_metrics": {"train": defaultdict(list)},
        "_total_train_tokens": 0,
        "_tp_size": 1,
    }
    for name, value in {**common, **attributes}.items():
        object.__setattr__(trainer, name, value)
    return trainer


def outputs(log_probs: Tensor) -> SimpleNamespace:
    """What TRL's models answer: token log-probs, and figures that only its logs read."""
    zeros = torch.zeros_like(log_probs)
    return SimpleNamespace(
        log_probs=log_probs, entropy=zeros, mean_logits=zeros, is_top1=zeros.bool()
    )


def run_lines(function: Any, first: str, last: str, **names: Any) -> dict[str, Any]:
    """Run the lines of a function's source from the one that begins with `first` to the one that
    begins with `last`, both included; returns the variables afterwards.

    The two lines have to be there once, at one depth.
    """
    lines = inspect.getsource(function).splitlines()
    starts = [i for i, line in enumerate(lines) if line.strip().startswith(first)]
    assert len(starts) == 1, f"{first!r} is in TRL's source {len(starts)} times"
    ends = [i for i in range(starts[0], len(lines)) if lines[i].strip().startswith(last)]
    assert ends, f"{last!r} does not follow {first!r} in TRL's source"
    code = textwrap.dedent("\n".join(lines[starts[0] : ends[0] + 1]))
    space = {**function.__globals__, **names}
    exec(compile(code, f"<{function.__qualname__}>", "exec"), space)
    return space
