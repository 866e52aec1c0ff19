"""The sample set of the embedded quickstart: prompts, candidates, a rule scorer, annotators.

Written for this project and made by a deterministic generator. Its annotators are simulated.
"""

from accord.corpora.sample_set.annotators import ANNOTATORS, SimulatedAnnotator, judgements
from accord.corpora.sample_set.generate import SampleSet, demonstrations, generate, write
from accord.corpora.sample_set.rows import Candidate, Demonstration, JudgementRecord, PromptRow, Row
from accord.corpora.sample_set.scoring import behaviours, describe, quality, score

__all__ = [
    "ANNOTATORS",
    "Candidate",
    "Demonstration",
    "JudgementRecord",
    "PromptRow",
    "Row",
    "SampleSet",
    "SimulatedAnnotator",
    "behaviours",
    "demonstrations",
    "describe",
    "generate",
    "judgements",
    "quality",
    "score",
    "write",
]
