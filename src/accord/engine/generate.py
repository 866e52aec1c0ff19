"""One call for the common case: a response to each of many prompts."""

from collections.abc import Sequence

import numpy as np

from accord.core import processes
from accord.core.interfaces import Engine
from accord.core.types import GenerationRequest, GenerationResult, SamplingParams


def generate(
    engine: Engine, prompts: Sequence[Sequence[int]], params: SamplingParams, *, seed: int
) -> list[GenerationResult]:
    """Responses in the order of the prompts; each has a seed of its own, made from `seed`.

    Equal prompts at different places get different responses. Several processes sample a share each
    and all get every response.
    """
    seeds = np.random.SeedSequence(seed).generate_state(len(prompts), dtype=np.uint64)
    requests = [
        GenerationRequest(tuple(prompt), params, int(row_seed))
        for prompt, row_seed in zip(prompts, seeds, strict=True)
    ]
    mine = engine.submit(processes.share(requests))
    return processes.unshared([generation.result() for generation in mine])
