"""What comes of a policy that acts: a rollout; and what an environment answers it."""

from dataclasses import dataclass, field

from accord.core.types import Message, Row


@dataclass(frozen=True)
class Rollout:
    """One episode. The three response fields are equally long.

    `response_mask` is True where the policy chose the token, False for observations of an
    environment; `old_logprobs` are the behaviour log-probs in nats (0 where not chosen). `score` is
    the sum of an environment's rewards, None where a reward still has to score the response, and
    `ended` why the episode ended ("done", "turns", "context").
    """

    prompt_ids: tuple[int, ...]
    response_ids: tuple[int, ...]
    response_mask: tuple[bool, ...]
    old_logprobs: tuple[float, ...]
    finished: bool
    score: float | None = None
    ended: str | None = None

    @property
    def chosen_ids(self) -> tuple[int, ...]:
        """The policy's own tokens, without what an environment said between them."""
        pairs = zip(self.response_ids, self.response_mask, strict=True)
        return tuple(token for token, is_chosen in pairs if is_chosen)


@dataclass(frozen=True)
class Reply:
    """An environment's answer to an action.

    `observation` are the messages that the policy reads next, none where the episode is over;
    `answer` is the final answer as the environment understood it; `notes` whatever else a person or
    a figure may want (calls of tools, passages, what was malformed).
    """

    observation: tuple[Message, ...] = ()
    reward: float = 0.0
    is_done: bool = False
    answer: str | None = None
    notes: Row = field(default_factory=dict)
