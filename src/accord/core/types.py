"""RL words as types."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict

from accord.core.controls import Controls


class Message(TypedDict):
    """One turn of a conversation."""

    role: str
    content: str


Row = Mapping[str, Any]


@dataclass(frozen=True)
class Demonstration:
    """A conversation whose `completion` is to be imitated."""

    prompt: tuple[Message, ...]
    completion: str
    columns: Row = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """A judged pair; `p_chosen` is the probability that `chosen` is the better, in [0, 1].

    Pairs that came from one ranking have the same `ranking`, and together weigh what a pair does.
    `where` is its place in a file, for error messages.
    """

    prompt: tuple[Message, ...]
    chosen: str
    rejected: str
    p_chosen: float = 1.0
    margin: float = 0.0
    columns: Row = field(default_factory=dict)
    ranking: str | None = None
    where: str = field(default="a comparison", compare=False)


@dataclass(frozen=True)
class JudgedSteps:
    """A response in steps; `labels` are the probabilities, in [0, 1], that each step is right."""

    prompt: tuple[Message, ...]
    steps: tuple[str, ...]
    labels: tuple[float, ...]
    where: str = field(default="a row of steps", compare=False)


class TextPrompt(tuple[Message, ...]):
    """A prompt that was plain text: reward functions, as TRL's, get it and responses as texts."""


@dataclass(frozen=True)
class PromptRow:
    """A prompt with whatever columns came with it (rewards and scorers read them)."""

    prompt: tuple[Message, ...]
    columns: Row = field(default_factory=dict)


Verdict = Literal["a", "b", "tie"]


@dataclass(frozen=True)
class Judgement:
    """What one annotator said of one pair; response a was shown first.

    `p_a` is the probability that a is the better, where the judgement came with one;
    `display_seed` what the order was drawn from; `reason` what was said for it; `task_id` names a
    task of the store with these responses in this order, where it is not named by its content;
    `policies` wrote the two responses, where that is known; `where` is its place in a file, for
    error messages.
    """

    annotator: str
    annotator_kind: Literal["person", "model", "simulated"]
    prompt: tuple[Message, ...]
    response_a: str
    response_b: str
    verdict: Verdict
    columns: Row = field(default_factory=dict)
    p_a: float | None = None
    display_seed: int = 0
    reason: str | None = None
    task_id: str | None = None
    where: str = field(default="a judgement", compare=False)
    policies: tuple[str | None, ...] = ()


TaskKind = Literal["pairwise", "ranking", "likert", "rewrite", "critique", "success"]


@dataclass(frozen=True)
class Answered:
    """What one annotator answered to a task of any kind, as the store's `answers` has it.

    The answer and `policies` speak of `responses` in their order here; `task_id` and `where` as in
    a judgement.
    """

    annotator: str
    annotator_kind: Literal["person", "model", "simulated"]
    kind: TaskKind
    prompt: tuple[Message, ...]
    responses: tuple[str, ...]
    answer: Row
    columns: Row = field(default_factory=dict)
    task_id: str | None = None
    where: str = field(default="an answer", compare=False)
    policies: tuple[str | None, ...] = ()


@dataclass(frozen=True)
class Task:
    """What annotators are asked; `overlap` of them, no more and in the end no fewer.

    `policies` says which policy version wrote each response, None where that is not known.
    """

    id: str
    project: str
    kind: TaskKind
    prompt: tuple[Message, ...]
    responses: tuple[str, ...]
    policies: tuple[str | None, ...] = ()
    columns: Row = field(default_factory=dict)
    overlap: int = 1
    priority: float = 0.0


@dataclass(frozen=True)
class Lease:
    """A task that one annotator holds until `until` (seconds since 1970).

    `order` is how the responses are shown: place i shows the task's response order[i]. It was drawn
    from `seed`.
    """

    id: str
    task: Task
    annotator: str
    order: tuple[int, ...]
    seed: int
    until: float


Role = Literal["lead", "reviewer", "annotator", "machine"]
"""What an account may do: a lead everything, a reviewer see all judgements, an annotator make
them, a machine make them by the API."""

Action = Literal["judge", "skip", "flag", "unsure", "undo"]


@dataclass(frozen=True)
class Submission:
    """What an annotator hands in under a key of the client's own making.

    `answer` speaks of the task's responses in the task's order, whatever order was shown. A skip, a
    flag and an unsure are three different things, and none of them is a judgement.
    """

    key: str
    answer: Row
    action: Action = "judge"
    time_on_task_s: float | None = None
    guideline_version: int | None = None


@dataclass(frozen=True)
class Receipt:
    """A judgement that is on the disk; `is_surplus` where the task had no slot left for it."""

    judgement_id: str
    sequence: int
    sha256: str
    is_surplus: bool = False


Aggregation = Literal[
    "majority",
    "dawid_skene",
    "dawid_skene_by_side",
    "one_coin",
    "mace",
    "glad",
    "bradley_terry",
    "crowd_bradley_terry",
    "noisy_bradley_terry",
]
"""How several judgements of a pair become one probability: see `annotation.pairs`."""


Rule = Literal["utilitarian", "borda", "copeland", "max_min", "maximal_lottery", "quota"]
"""Whose values: see `annotation.social_choice`."""


@dataclass(frozen=True)
class ValueRule:
    """How groups of annotators, by what they declared of themselves, come to one answer.

    Groups of fewer than `k` people are pooled or left out; `quotas` are weights by group.
    """

    rule: Rule
    group_by: str
    quotas: Mapping[str, float] = field(default_factory=dict)
    k: int = 5


@dataclass(frozen=True)
class ExportedComparisons:
    """Comparisons (and rankings) of a store's project, in the columns that training reads.

    Beside these `rows` there are `labels` of single responses and `demonstrations`, responses that
    somebody has rewritten. `judgements` has a row each of what went in, with its id; `verdicts` the
    votes on every pair; `sha256` is the hash of all rows, under which the store remembers
    `judgement_ids`.
    """

    rows: list[dict[str, Any]]
    judgements: list[dict[str, Any]]
    judgement_ids: list[str]
    verdicts: list[list[Verdict]]
    sha256: str
    labels: list[dict[str, Any]] = field(default_factory=list)
    demonstrations: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class SamplingParams:
    """How to sample: the full distribution at `temperature`; 0 takes the likeliest token."""

    max_new_tokens: int
    temperature: float = 1.0


@dataclass(frozen=True)
class GenerationRequest:
    """A prompt in token ids; equal seeds give equal responses whatever shares the batch.

    `adapter` is which of an engine's several answers; None is its policy as it is.
    """

    prompt_ids: tuple[int, ...]
    params: SamplingParams
    seed: int
    controls: Controls | None = None
    adapter: str | None = None


@dataclass(frozen=True)
class GeneratedToken:
    """One token, its log-prob in nats, and the weights it came from.

    The log-prob is at the sampling temperature (at 1 for temperature 0). Under `Controls` it is the
    model's own, at temperature 1 and before anything was changed, as `top` is: the likeliest
    (id, log-prob) in order, as many as were asked for.
    """

    token_id: int
    logprob: float
    weight_version: int
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class GenerationResult:
    """A finished response; `tokens` ends with the end-of-turn token when `finish` is "stop"."""

    prompt_ids: tuple[int, ...]
    tokens: tuple[GeneratedToken, ...]
    finish: Literal["stop", "length", "cancelled"]

    @property
    def response_ids(self) -> tuple[int, ...]:
        """Ids of the response, the end-of-turn token included."""
        return tuple(token.token_id for token in self.tokens)


@dataclass(frozen=True)
class Scores:
    """What a reward says of a batch of responses.

    `values` has one scalar a response (NaN where a part of a mixture does not apply); `spread` is
    a disagreement in the same units, when the reward has one; `per_step` gives scores by reasoning
    step; `parts` the named addends.
    """

    values: Sequence[float]
    spread: Sequence[float] | None = None
    per_step: Sequence[Sequence[float]] | None = None
    parts: Mapping[str, Sequence[float]] = field(default_factory=dict)
