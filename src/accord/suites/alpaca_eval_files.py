"""AlpacaEval's files: outputs, stored judgements, and what its regression fixes.

The benchmark's data is licensed for non-commercial use only (CC-BY-NC-4.0), so it is read from
wherever the user has it and is no part of this package.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import logit

from accord.annotation.length_control import Coefficients, JudgedRows, surrogate_preferences
from accord.annotation.tables import Floats
from accord.core.errors import DataError
from accord.suites.rows import NUMBER, Record, find_file, read_records

BASELINE = "gpt4_1106_preview"
"""The official baseline, as files call it."""

_LENGTH, _DIFFICULTY, _POLICY = (
    "np.tanh(std_delta_len)",
    "instruction_difficulty",
    "not_gamed_baseline.astype(float)",
)


@dataclass(frozen=True)
class Outputs:
    """One model's responses, by place."""

    generator: str
    instructions: list[str]
    texts: list[str]


def read_outputs(path: str | Path) -> Outputs:
    """A model's `instruction`, `output` and `generator`, such as its model_outputs.json.

    Raises:
        DataError: a field is missing, or the file holds several generators.
    """
    records = read_records(path)
    generators = {record.text("generator") for record in records}
    if len(generators) > 1:
        raise DataError(f"{path}: expected one generator, got {', '.join(sorted(generators))}")
    instructions = [record.text("instruction") for record in records]
    return Outputs(generators.pop(), instructions, [record.text("output") for record in records])


@dataclass(frozen=True)
class AlpacaFiles:
    """The benchmark: instructions with the baseline's outputs, and what length control needs."""

    baseline: Outputs
    difficulty: Floats | None = None
    """(N,) of the instructions, by place"""
    gamed: tuple[Outputs, ...] = ()
    """the baseline told to be concise, and to be verbose: the judge compares them as well"""

    def __post_init__(self) -> None:
        """Refuse files that do not fit together."""
        for outputs in self.gamed:
            if outputs.instructions != self.baseline.instructions:
                raise DataError(
                    f"outputs of {outputs.generator} are not for the instructions of "
                    f"{self.baseline.generator}, in their order"
                )
        if self.difficulty is not None and len(self.difficulty) != len(self.baseline.texts):
            raise DataError(
                f"{len(self.difficulty)} difficulties for {len(self.baseline.texts)} instructions"
            )


def read_alpaca_eval(folder: str | Path) -> AlpacaFiles:
    """Of a folder: `baseline`, and where they are there `concise`, `verbose` and `difficulty`.

    The first three are files of outputs, such as a model's model_outputs.json, under these names;
    `difficulty` has the benchmark's instruction_difficulty. Any ending that `read_records` reads.

    Raises:
        DataError: there is no baseline, a field is missing, or files do not fit together.
    """
    baseline = find_file(folder, "baseline")
    if baseline is None:
        raise DataError(f"{folder}: no baseline.json, .jsonl or .csv with the baseline's outputs")
    gamed = (find_file(folder, "concise"), find_file(folder, "verbose"))
    difficulty = find_file(folder, "difficulty")
    return AlpacaFiles(
        baseline=read_outputs(baseline),
        difficulty=None if difficulty is None else read_difficulty(difficulty),
        gamed=tuple(read_outputs(path) for path in gamed if path is not None),
    )


@dataclass(frozen=True)
class Annotations:
    """(N,) stored judgements of one model against the baseline, in the file's order."""

    model: str
    baseline: str
    preferences: Floats
    """that the model's output is the better, in [0, 1]; NaN abstained"""
    lengths: Floats
    """of the model's outputs in characters"""
    baseline_lengths: Floats

    def judged(self, difficulty: Floats | None) -> JudgedRows:
        """What the regression takes. Difficulty is joined by place, as the leaderboard does.

        Raises:
            DataError: there are more rows than difficulties.
        """
        count = len(self.preferences)
        if difficulty is None:
            difficulty = np.zeros(count)
        if len(difficulty) < count:
            raise DataError(
                f"{self.model} has {count} judgements, but only {len(difficulty)} instructions "
                "have a difficulty"
            )
        gaps = self.baseline_lengths - self.lengths
        return JudgedRows(self.preferences, gaps, difficulty[:count])


def read_annotations(path: str | Path) -> Annotations:
    """Stored judgements: `preference` from 1 (the baseline) to 2 (the model); 0, too, is a tie.

    Lengths are those of `output_1` (the baseline's) and `output_2`, or come as `len_baseline` and
    `len_model`. A preference of null is an abstention.

    Raises:
        DataError: a field is missing, or a preference is none.
    """
    records = read_records(path)
    names = {(r.text("generator_1"), r.text("generator_2")) for r in records}
    if len(names) > 1:
        raise DataError(f"{path}: expected one pair of generators, got {sorted(names)}")
    baseline, model = names.pop()
    return Annotations(
        model=model,
        baseline=baseline,
        preferences=np.array([_preference(record) for record in records]),
        lengths=np.array([_length(r, "len_model", "output_2") for r in records]),
        baseline_lengths=np.array([_length(r, "len_baseline", "output_1") for r in records]),
    )


def _preference(record: Record) -> float:
    if "preference" in record.values and record.values["preference"] is None:
        return float("nan")
    value = float(record.get("preference", NUMBER))
    if value == 0:
        return 0.5
    if not 1 <= value <= 2:
        raise DataError(f"{record.where}: field 'preference' is {value}; expected 0, or 1 to 2")
    return value - 1


def _length(record: Record, counted: str, text: str) -> float:
    if counted in record.values:
        return float(record.get(counted, NUMBER))
    return float(len(record.text(text)))


def read_coefficients(path: str | Path) -> dict[str, Coefficients]:
    """The leaderboard's published regressions, by model; the first column has no name."""
    return {
        record.text(""): Coefficients(
            record.number(_LENGTH), record.number(_DIFFICULTY), record.number(_POLICY)
        )
        for record in read_records(path)
    }


def read_difficulty(path: str | Path) -> Floats:
    """(N,) the field `instruction_difficulty`, by place."""
    return np.array([record.number(_DIFFICULTY) for record in read_records(path)])


def difficulty_from_predictions(path: str | Path, coefficients: Coefficients) -> Floats:
    """(N,) difficulties that a published regression must have used, from its predictions.

        d = (logit(glm_preference) - b_policy) / b_difficulty

    Args:
        path: rows with `glm_preference`, that a model of known coefficients would win.
    """
    predictions = np.array([record.number("glm_preference") for record in read_records(path)])
    found: Floats = (logit(predictions) - coefficients.policy) / coefficients.difficulty
    return found


def read_lengths(path: str | Path) -> Floats:
    """(N,) characters of a model's outputs: `length`, or those of `output`."""
    return np.array([_length(record, "length", "output") for record in read_records(path)])


def official_gamed_rows(
    lengths: Floats, baseline_lengths: Floats, difficulty: Floats, coefficients: Coefficients
) -> JudgedRows:
    """What the official judge said of a gamed baseline, from the regression published for it.

    The judgements themselves are not published; the fit to them stands in for them.

    Args:
        lengths: (N,) of the gamed outputs in characters.
        baseline_lengths: (N,) of the baseline's.
    """
    rows = JudgedRows(np.zeros(len(lengths)), baseline_lengths - lengths, difficulty)
    return rows._replace(preferences=surrogate_preferences(coefficients, rows))
