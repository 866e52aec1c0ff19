"""Knobs of the supervised fine-tuning stage."""

from pydantic import Field

from accord.core.config import InputPath
from accord.core.train_config import TrainConfig


class Config(TrainConfig):
    """Imitation of demonstrations, to the minimum of the validation loss."""

    dataset_name: list[InputPath]
    """demonstrations: prompt+completion, messages, or the chosen side of pairs"""
    learning_rate: float = Field(default=2e-5, gt=0)
    """peak rate, after linear warm-up; then a cosine to a tenth"""
    eval_dataset_name: InputPath | None = None
    """demonstrations for the validation loss; without it a share is held out by prompt"""
    eval_fraction: float = Field(default=0.05, gt=0, lt=1)
    """share held out when there is no eval_dataset_name"""
    patience: int = Field(default=3, ge=1)
    """stop after this many evaluations without a lower validation loss; the best weights stay"""
