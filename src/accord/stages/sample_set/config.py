"""Knobs of the sample-set stage."""

from accord.core.config import StageConfig


class Config(StageConfig):
    """Generate the sample set; the seed is all there is to choose."""
