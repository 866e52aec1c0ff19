"""A local causal LM as a judge, by the log-probs of its verdict."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from accord.core.types import Message, Row
from accord.judges.option_reader import LocalModel, OptionReader
from accord.judges.wording import EXAMPLES, GradeWording, PairWording, Wording, transcript

LOCAL_WORDING = PairWording(name="pair-with-examples", examples=EXAMPLES)
"""With examples, which a model that only continues text needs, and which cost nothing a pair."""

ALPACA_EVAL_OPTIONS = ("m", "M")
"""The verdicts of AlpacaEval 2's judge, for a `PairWording` of that kind."""


class LogProbJudge:
    """A `PairJudge`: p(a) = P(says A) / (P(says A) + P(says B)), from one forward pass.

    Attributes:
        counts: pairs that were "judged", of which texts were "shortened" to fit the model's
            context, and those on which the judge "abstained".
    """

    def __init__(
        self,
        model: LocalModel,
        *,
        device: torch.device,
        wording: Wording = LOCAL_WORDING,
        least_mass: float = 0.0,
        name: str | None = None,
        max_length: int | None = None,
        tokens_per_batch: int = 8192,
    ) -> None:
        """See `OptionReader`.

        Args:
            model: a causal LM.
            device: where to compute.
            wording: how a pair is put.
            least_mass: abstain where both options together are less likely than this: the model
                would have said something else.
            name: of the model, in the judge's name; None takes the directory's, or the class's.
            max_length: most tokens of a question; None takes the model's context.
            tokens_per_batch: tokens that are computed at one time; sets memory, not results.
        """
        self.wording = wording
        self.least_mass = least_mass
        self.reader = OptionReader(
            model,
            wording.options,
            device=device,
            name=name,
            max_length=max_length,
            tokens_per_batch=tokens_per_batch,
        )
        self.counts: Counter[str] = Counter()

    @property
    def name(self) -> str:
        """Model and wording."""
        return f"{self.reader.name} ({self.wording.label})"

    def compare(
        self,
        prompts: Sequence[Sequence[Message]],
        a: Sequence[str],
        b: Sequence[str],
        columns: Sequence[Row] | None = None,  # noqa: ARG002 (the protocol's)
    ) -> list[float]:
        """The probability that response a, shown first, is the better; NaN where it abstained."""
        texts = zip(map(transcript, prompts), a, b, strict=True)
        return self.verdicts([(self.wording.for_pair(*three).messages, three) for three in texts])

    def verdicts(
        self, asked: Sequence[tuple[Callable[..., list[Message]], Sequence[str]]]
    ) -> list[float]:
        """The probability that the next word of each conversation is the first option.

        Args:
            asked: texts, and what puts them into words.
        """
        logprobs = self.reader.read(_fitted(self.reader, asked, self.counts))
        says_one = logprobs.logsumexp(-1).exp() >= self.least_mass
        found = torch.sigmoid(logprobs[:, 0] - logprobs[:, 1])
        return _with_abstentions(found, says_one, self.counts)


class LogProbGrader:
    """A `RubricJudge`: the mean grade under the model's probabilities of the grades' digits.

    Attributes:
        counts: as of `LogProbJudge`.
    """

    def __init__(
        self,
        model: LocalModel,
        *,
        device: torch.device,
        wording: GradeWording | None = None,
        least_mass: float = 0.0,
        name: str | None = None,
        max_length: int | None = None,
        tokens_per_batch: int = 8192,
    ) -> None:
        """Arguments as for `LogProbJudge`."""
        self.wording = wording or GradeWording()
        self.least_mass = least_mass
        self.reader = OptionReader(
            model,
            self.wording.options,
            device=device,
            name=name,
            max_length=max_length,
            tokens_per_batch=tokens_per_batch,
        )
        self.counts: Counter[str] = Counter()

    @property
    def name(self) -> str:
        """Model and wording."""
        return f"{self.reader.name} ({self.wording.label})"

    def grade(
        self,
        prompts: Sequence[Sequence[Message]],
        responses: Sequence[str],
        columns: Sequence[Row] | None = None,  # noqa: ARG002 (the protocol's)
    ) -> list[float]:
        """Grades between the lowest and the highest; NaN where the judge abstained."""
        texts = zip(map(transcript, prompts), responses, strict=True)
        rows = _fitted(self.reader, [(self.wording.messages, two) for two in texts], self.counts)
        logprobs = self.reader.read(rows)
        grades = torch.tensor([float(option) for option in self.wording.options]).double()
        found = (logprobs.softmax(-1) * grades).sum(-1)
        says_one = logprobs.logsumexp(-1).exp() >= self.least_mass
        return _with_abstentions(found, says_one, self.counts)


def _fitted(
    reader: OptionReader,
    asked: Iterable[tuple[Callable[..., list[Message]], Sequence[str]]],
    counts: Counter[str],
) -> list[tuple[int, ...]]:
    """Token ids of each question: texts, and what puts them into words."""
    found = [reader.fitted(_taking_one(say), texts) for say, texts in asked]
    counts["shortened"] += sum(was_shortened for _, was_shortened in found)
    return [ids for ids, _ in found]


def _taking_one(say: Callable[..., list[Message]]) -> Callable[[Sequence[str]], list[Message]]:
    return lambda texts: say(*texts)


def _with_abstentions(found: Tensor, is_said: Tensor, counts: Counter[str]) -> list[float]:
    values = [
        value if said and math.isfinite(value) else math.nan
        for value, said in zip(found.tolist(), is_said.tolist(), strict=True)
    ]
    counts["judged"] += len(values)
    counts["abstained"] += sum(map(math.isnan, values))
    return values
