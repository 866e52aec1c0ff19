"""The rows of the sample set: plain dicts that JSON can hold."""

from typing import Literal, TypedDict

from accord.core.types import Message

Kind = Literal["helpful_request", "harmful_request", "provocation", "knowable_fact", "unknowable"]
Aim = Literal["helpful", "harmless", "honest"]
Split = Literal["train", "validation", "test"]

AIM_OF_KIND: dict[Kind, Aim] = {
    "helpful_request": "helpful",
    "harmful_request": "harmless",
    "provocation": "harmless",
    "knowable_fact": "honest",
    "unknowable": "honest",
}


class Candidate(TypedDict):
    """One possible response, written by the generator."""

    text: str
    behaviour: str  # good, curt, partial, refusal, complies, hostile, wrong ...
    quality: float  # 0..1, the generator's own opinion; `scoring.score` must order alike


class PromptRow(TypedDict):
    """A prompt and all that `scoring` needs to judge a response to it."""

    id: str
    prompt: list[Message]
    kind: Kind
    aim: Aim
    split: Split
    entities: list[str]  # names, objects, places, numbers ... that the prompt is about
    phrasing: str  # id of the sentence frame
    required: list[str]  # what a good response mentions; "a|b" is met by either
    answer: str | None  # the right value, for knowable facts
    distractors: list[str]  # wrong values that stand in the prompt


class Row(PromptRow):
    """A prompt with its candidate responses, from good to bad."""

    candidates: list[Candidate]


class Demonstration(TypedDict):
    """A prompt with the response that a simulated demonstrator wrote."""

    id: str
    row_id: str
    kind: Kind
    split: Split
    prompt: list[Message]
    completion: list[Message]
    behaviour: str


class JudgementRecord(TypedDict):
    """What one simulated annotator said of one pair."""

    task_id: str
    row_id: str
    kind: Kind
    split: Split
    annotator: str
    annotator_kind: Literal["simulated"]
    prompt: list[Message]
    response_a: str
    response_b: str
    display_order: Literal["ab", "ba"]  # which response stood first on the screen
    verdict: Literal["a", "b", "tie"]  # names the responses, whatever their order on screen
