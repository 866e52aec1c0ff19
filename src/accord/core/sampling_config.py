"""The knobs that every stage has which samples."""

from typing import Literal, Self

from pydantic import model_validator

from accord.core.config import StageConfig


class SamplingConfig(StageConfig):
    """What stages that sample share."""

    engine: Literal["local", "vllm", "remote"] = "local"
    """what generates text: the local sampler, vLLM in this process (an extra), or either of them
    behind engine_url, started there by accord engine"""
    engine_url: str | None = None
    """http://HOST:PORT of the remote engine, which is sent the policy's weights"""

    @model_validator(mode="after")
    def _remote_has_a_place(self) -> Self:
        if (self.engine == "remote") != (self.engine_url is not None):
            raise ValueError("engine remote and engine_url belong together")
        return self
