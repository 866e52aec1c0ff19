"""Self-consistency: several episodes of one row, and what most of them answer."""

from dataclasses import dataclass

from accord.core.interfaces import Engine, EnvironmentFactory
from accord.core.types import PromptRow
from accord.corpora.encoding import ChatEncoder
from accord.environments.answers import Vote, majority
from accord.environments.episode import LoopLimits, Played
from accord.environments.loop import run_episodes


@dataclass(frozen=True)
class Voted:
    """The vote and the episodes that took part; those without an answer were skipped."""

    vote: Vote
    episodes: tuple[Played, ...]

    @property
    def chosen(self) -> Played:
        """The first episode with the answer that won; the first of all where there is none."""
        for episode in self.episodes:
            if episode.answer is not None and episode.answer == self.vote.answer:
                return episode
        return self.episodes[0]


def vote(
    engine: Engine,
    environments: EnvironmentFactory,
    row: PromptRow,
    encoder: ChatEncoder,
    limits: LoopLimits,
    *,
    samples: int,
    seed: int,
) -> Voted:
    """Play a row several times and take the majority's answer.

    Raises:
        ValueError: there is nothing to vote on, or all samples would be the same.
    """
    if samples < 1 or (samples > 1 and limits.temperature == 0):
        raise ValueError(f"{samples} samples at temperature {limits.temperature} make no vote")
    played = run_episodes(engine, environments, [row] * samples, encoder, limits, seed=seed)
    return Voted(majority([episode.answer for episode in played]), tuple(played))
