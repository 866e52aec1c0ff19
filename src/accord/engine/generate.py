"""One call for the common case: a response to each of many prompts."""

from collections.abc import Sequence

import numpy as np

from accord.core.interfaces import Engine
from accord.core.types import GenerationRequest, GenerationResult, SamplingParams


def generate(
    engine: Engine, prompts: Sequence[Sequence[int]], params: SamplingParams, *, seed: int
) -> list[GenerationResult]:
    """Responses in the order of the prompts; each has a seed of its own, made from `seed`.

    Equal prompts at different places get different responses.
    """
    seeds = np.random.SeedSequence(seed).generate_state(len(prompts), dtype=np.uint64)
    requests = [
        GenerationRequest(tuple(prompt), params, int(row_seed))
        for prompt, row_seed in zip(prompts, seeds, strict=True)
    ]
    return [generation.result() for generation in engine.submit(requests)]
