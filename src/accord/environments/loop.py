"""The one rollout loop: many episodes at once over an engine, for serving and for training."""

import asyncio
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

from accord.core import processes
from accord.core.errors import DataError
from accord.core.interfaces import Engine, EnvironmentFactory
from accord.core.types import PromptRow
from accord.corpora.encoding import ChatEncoder
from accord.environments.episode import Episode, LoopLimits, Played

T = TypeVar("T")


def run_episodes(
    engine: Engine,
    environments: EnvironmentFactory,
    rows: Sequence[PromptRow],
    encoder: ChatEncoder,
    limits: LoopLimits,
    *,
    seed: int,
) -> list[Played]:
    """One episode a row, in their order.

    Equal rows at different places are played differently, each by a seed of its own. Several
    processes play a share each, and all get every episode.

    Raises:
        DataError: an environment went on without an observation.
    """
    seeds = np.random.SeedSequence(seed).generate_state(len(rows), dtype=np.uint64)
    mine = processes.share(list(zip(rows, seeds, strict=True)))
    episodes = [Episode(environments(), row, encoder, limits, seed=int(own)) for row, own in mine]
    completed(play(engine, episodes))
    return processes.unshared([episode.played() for episode in episodes])


def completed(work: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns; in a thread of its own where this one has a loop (a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(asyncio.run, work).result()


async def play(engine: Engine, episodes: Sequence[Episode]) -> None:
    """Play episodes to their ends, in rounds: all next actions are sampled together, and then all
    environments answer at the same time.
    """
    while active := [episode for episode in episodes if episode.ended is None]:
        generations = engine.submit([episode.request() for episode in active])
        results = [generation.result() for generation in generations]
        if any(result.finish == "cancelled" for result in results):
            raise RuntimeError("the engine was closed while episodes were played")
        actions = [e.take(result) for e, result in zip(active, results, strict=True)]
        await asyncio.gather(*map(answer_action, active, actions))


async def answer_action(episode: Episode, action: str) -> None:
    """Let the environment answer an action that the episode has taken.

    Raises:
        DataError: it goes on without an observation.
    """
    reply = await episode.environment.step(action)
    if not reply.is_done and not reply.observation:
        name = type(episode.environment).__name__
        raise DataError(f"{name}: an answer that ends nothing needs an observation")
    episode.answer(reply)
