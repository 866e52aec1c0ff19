"""Votes as arrays: who said what of which task."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Votes:
    """N votes; entry n says that annotator `annotator[n]` gave task `task[n]` the `label[n]`.

    Numbers are places in `tasks`, `annotators` and `categories`, which keep the names.
    """

    task: Ints
    annotator: Ints
    label: Ints
    tasks: list[Hashable]
    annotators: list[Hashable]
    categories: list[Hashable]

    @classmethod
    def of(
        cls,
        rows: Iterable[tuple[Hashable, Hashable, Hashable]],
        *,
        categories: Sequence[Hashable] = (),
    ) -> Self:
        """From (task, annotator, label) rows, in any order.

        Args:
            rows: votes; names in the order in which they come first are numbered from 0.
            categories: labels in their order, where that matters or some may be missing.

        Raises:
            ValueError: there is no vote, or a label that is none of the categories.
        """
        tasks: dict[Hashable, int] = {}
        annotators: dict[Hashable, int] = {}
        labels = {category: place for place, category in enumerate(categories)}
        found = []
        for task, annotator, label in rows:
            if categories and label not in labels:
                raise ValueError(f"task {task!r}: {label!r} is none of {list(categories)}")
            found.append(
                (
                    tasks.setdefault(task, len(tasks)),
                    annotators.setdefault(annotator, len(annotators)),
                    labels.setdefault(label, len(labels)),
                )
            )
        if not found:
            raise ValueError("there are no votes")
        task, annotator, place = np.array(found, dtype=np.int64).T
        return cls(task, annotator, place, list(tasks), list(annotators), list(labels))

    def counts(self) -> Floats:
        """(tasks, categories) how many annotators gave each label to each task."""
        found = np.zeros((len(self.tasks), len(self.categories)))
        np.add.at(found, (self.task, self.label), 1)
        return found

    def mean_by_annotator(self, values: Floats) -> Floats:
        """(annotators,) means of (N,) values, one a vote; NaN for whoever has no vote."""
        size = len(self.annotators)
        count = np.bincount(self.annotator, minlength=size)
        total = np.bincount(self.annotator, values, size)
        found: Floats = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        return found

    def where(self, kept: npt.NDArray[np.bool_]) -> Self:
        """The votes for which (N,) `kept` is true; all names keep their numbers."""
        return replace(
            self, task=self.task[kept], annotator=self.annotator[kept], label=self.label[kept]
        )

    def without(self, label: Hashable) -> Self:
        """The votes that are not `label` (ties, say), with every task and annotator kept."""
        place = self.categories.index(label)
        rest = self.where(self.label != place)
        others = [c for c in self.categories if c != label]
        return replace(rest, label=rest.label - (rest.label > place), categories=others)
