"""What makes a reward model a process reward model: two words in a file beside its weights."""

from typing import ClassVar

from accord.models.note import ModelNote


class ProcessFormat(ModelNote):
    """How a process reward model reads a response and sums it up."""

    file: ClassVar[str] = "process_reward.json"

    step_separator: str
    step_aggregation: str
