"""The knob that every stage has which samples."""

from typing import Literal

from accord.core.config import StageConfig


class SamplingConfig(StageConfig):
    """What stages that sample share."""

    engine: Literal["local", "vllm"] = "local"
    """what generates text: the local sampler, or vLLM in this process (an extra)"""
