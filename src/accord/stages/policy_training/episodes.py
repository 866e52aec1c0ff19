"""Rollouts of a policy in an environment, which pays them itself."""

import functools
from collections.abc import Sequence

from accord.core.episodes import Rollout
from accord.core.errors import ConfigError
from accord.core.interfaces import Engine, EnvironmentFactory
from accord.core.types import Message, PromptRow, Row, Scores
from accord.corpora.encoding import ChatEncoder
from accord.environments.episode import Episode, LoopLimits
from accord.environments.loop import run_episodes
from accord.environments.named import Settings, environment_factory
from accord.stages.policy_training.online_config import OnlineConfig


class EpisodeReward:
    """Stands where a reward stands: an episode brings its score along, and a text has none."""

    def score(
        self,
        prompts: Sequence[Sequence[Message]],
        responses: Sequence[str],
        *,
        prompt_ids: Sequence[Sequence[int]],
        response_ids: Sequence[Sequence[int]],
        columns: Sequence[Row],
    ) -> Scores:
        """Refuses.

        Raises:
            ConfigError: always.
        """
        del prompts, responses, prompt_ids, response_ids, columns
        raise ConfigError("an environment pays episodes; it cannot score a text")


def episode_scores(rollouts: Sequence[Rollout]) -> Scores:
    """What the environment paid."""
    return Scores([0.0 if rollout.score is None else rollout.score for rollout in rollouts])


def collect_episodes(
    engine: Engine,
    rows: Sequence[PromptRow],
    encoder: ChatEncoder,
    config: OnlineConfig,
    *,
    seed: int,
) -> list[Rollout]:
    """One episode a row."""
    environments, limits = environments_of(config), limits_of(config)
    played = run_episodes(engine, environments, rows, encoder, limits, seed=seed)
    return [episode.rollout for episode in played]


def episode_metrics(rollouts: Sequence[Rollout]) -> dict[str, float]:
    """How many episodes ended in which way; nothing where there was no environment."""
    ends = [rollout.ended for rollout in rollouts if rollout.ended is not None]
    shares = {end: ends.count(end) / len(ends) for end in ("done", "turns", "context") if ends}
    return {f"episode/ended_{end}": share for end, share in shares.items()}


def count_cut_episodes(
    rows: Sequence[PromptRow], encoder: ChatEncoder, config: OnlineConfig
) -> int:
    """Rows whose environment's prompt loses its start."""
    make, limits = environments_of(config), limits_of(config)
    return sum(Episode(make(), row, encoder, limits, seed=0).was_cut for row in rows)


def limits_of(config: OnlineConfig) -> LoopLimits:
    """How long an episode may be."""
    return LoopLimits(
        max_turns=config.max_turns,
        max_action_tokens=config.max_completion_length,
        max_length=config.max_length,
        temperature=config.temperature,
    )


def environments_of(config: OnlineConfig) -> EnvironmentFactory:
    """The environment that a config names."""
    assert config.environment is not None
    settings = Settings(
        documents=config.environment_documents,
        tools=tuple(config.environment_tools),
        embedding_model=config.environment_embedding,
        call_reward=config.call_reward,
        sandbox=config.environment_sandbox,
        mcp=tuple(config.environment_mcp),
        passages=config.environment_passages,
        min_coverage=config.environment_min_coverage,
        verifies=config.environment_verifies,
        retries=config.environment_retries,
        exemplars=config.environment_exemplars,
    )
    return _made(config.environment, settings)


@functools.lru_cache(maxsize=2)
def _made(name: str, settings: Settings) -> EnvironmentFactory:
    """Made once: indices are large, and a sandbox measures its level."""
    return environment_factory(name, settings)
