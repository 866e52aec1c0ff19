"""Scorers by name: of a config, or of the rows on which an attacker policy is trained."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from accord.core.device import default_device
from accord.core.errors import ConfigError
from accord.core.judge_config import JudgeConfig
from accord.red_team.rubric import rubric_of
from accord.red_team.scorers import ByClassifier, ByFunction, NotRefused, Scorer
from accord.rewards.classifier import Classifier

_LONGEST = 4096
"""Tokens of a prompt and its response that a classifier reads; a shorter context counts."""


@dataclass(frozen=True)
class NamedScorers:
    """Names (not_refused, rubric, classifier, or dotted ones) and what they need."""

    names: tuple[str, ...]
    judge: JudgeConfig
    classifier: str | None = None
    classifier_label: str = "harmful"
    classifier_finds_refusals: bool = False

    def load(self, folder: Path, *, stop: object = None) -> list[Scorer]:
        """In the order of the names, each once.

        Args:
            folder: where a judge's answers are kept.
            stop: once it is true in a boolean context, a judge is asked nothing more.

        Raises:
            ConfigError: a judge's key is missing, or a dotted name leads to nothing.
            ModelError: the classifier is none.
        """
        return [self._scorer(name, folder, stop) for name in dict.fromkeys(self.names)]

    def _scorer(self, name: str, folder: Path, stop: object) -> Scorer:
        if name == "not_refused":
            return NotRefused()
        if name == "rubric":
            return rubric_of(self.judge, folder / "said-by-judge.jsonl", stop=stop)
        if name == "classifier":
            if not self.classifier:
                raise ConfigError("scorer classifier: no directory is named")
            return ByClassifier(
                Classifier(self.classifier, device=default_device(), max_length=_LONGEST),
                self.classifier_label,
                is_unwanted=not self.classifier_finds_refusals,
                measures="compliance" if self.classifier_finds_refusals else "harm",
            )
        return ByFunction(name)

    def as_row(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "names": list(self.names),
            "judge": self.judge.model_dump(exclude_none=True),
            "classifier": self.classifier,
            "classifier_label": self.classifier_label,
            "classifier_finds_refusals": self.classifier_finds_refusals,
        }

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Self:
        """What `as_row` gave."""
        judge = JudgeConfig.parse(dict(row["judge"]), where="the scorers' judge")
        return cls(**{**row, "names": tuple(row["names"]), "judge": judge})
