"""From standing judgements to what training reads: comparisons, rankings, demonstrations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from accord.annotation.pairs import CATEGORIES, PairVotes, p_first
from accord.annotation.tables import Floats, Votes
from accord.annotation.votes import vote_share
from accord.core.errors import DataError
from accord.core.files import hash_json
from accord.core.types import Aggregation, Message, Task, Verdict
from accord.corpora.pairs import comparison_row
from accord.store.judgements import Standing


@dataclass(frozen=True)
class Exported:
    """Rows in the columns that training reads, and the judgements that are in them."""

    rows: list[dict[str, Any]]
    judgement_ids: list[str]


def comparisons(
    standing: Sequence[Standing], *, aggregation: Aggregation, seed: int = 0
) -> Exported:
    """One row a judged pair, with the probability that `chosen` is the better.

    p = P(a) + P(tie) / 2 of the aggregated label; "both bad" prefers neither, and is a tie here.
    "majority" is the smoothed share of the votes, or the mean of the probabilities where all of a
    pair's judgements came with one; for the others see `annotation.pairs.p_first`. Skips, flags,
    the unsure, surplus and what was erased are left out.

    Raises:
        DataError: no pair was judged.
    """
    used = [s for s in standing if counts(s, "pairwise")]
    if not used:
        raise DataError("no pair was judged: nothing can be exported")
    verdicts = [verdict_of(s) for s in used]
    votes = Votes.of(
        [(s.task.id, s.annotator, v) for s, v in zip(used, verdicts, strict=True)],
        categories=CATEGORIES,
    )
    p_a = _probabilities(votes, used, aggregation, seed)
    tasks = {s.task.id: s.task for s in used}
    voters = np.bincount(votes.task, minlength=len(votes.tasks))
    rows = [
        _comparison(tasks[str(name)], float(p), int(count))
        for name, p, count in zip(votes.tasks, p_a, voters, strict=True)
    ]
    return Exported(rows, [s.id for s in used])


def rankings(standing: Sequence[Standing]) -> Exported:
    """One row a ranking: prompt, completions, ranks; who did not rank a response left None."""
    used = [s for s in standing if counts(s, "ranking")]
    rows = []
    for s in used:
        assert s.answer is not None
        rows.append(
            {
                **s.task.columns,
                "prompt": list(s.task.prompt),
                "completions": [_response(text) for text in s.task.responses],
                "ranks": list(s.answer["ranks"]),
                "task_id": s.task.id,
            }
        )
    return Exported(rows, [s.id for s in used])


def demonstrations(standing: Sequence[Standing]) -> Exported:
    """One row a rewritten response: prompt and completion."""
    used = [s for s in standing if counts(s, "rewrite")]
    rows = []
    for s in used:
        assert s.answer is not None
        completion = [_response(str(s.answer["text"]))]
        prompt = list(s.task.prompt)
        rows.append(
            {**s.task.columns, "prompt": prompt, "completion": completion, "task_id": s.task.id}
        )
    return Exported(rows, [s.id for s in used])


def ratings(standing: Sequence[Standing]) -> Exported:
    """One row a rated task: by attribute, each response's mean rating, None where nobody rated."""
    used = [s for s in standing if counts(s, "likert")]
    rows = []
    for said in _by_task(used).values():
        task, answers = said[0].task, [s.answer["ratings"] for s in said if s.answer]
        attributes = dict.fromkeys(name for answer in answers for name in answer)
        rows.append(
            {
                **task.columns,
                "prompt": list(task.prompt),
                "completions": [_response(text) for text in task.responses],
                "ratings": {
                    name: _means([answer[name] for answer in answers if name in answer])
                    for name in attributes
                },
                "task_id": task.id,
                "votes": len(said),
            }
        )
    return Exported(rows, [s.id for s in used])


def successes(standing: Sequence[Standing]) -> Exported:
    """One row a judged attempt: prompt, completion, and a label, true where most said success.

    Attempts on which the votes are split evenly are left out: they have no label.
    """
    used, rows = [], []
    for said in _by_task([s for s in standing if counts(s, "success")]).values():
        task, votes = said[0].task, [bool(s.answer["success"]) for s in said if s.answer]
        if 2 * sum(votes) == len(votes):
            continue
        used += said
        rows.append(
            {
                **task.columns,
                "prompt": list(task.prompt),
                "completion": [_response(task.responses[0])],
                "label": 2 * sum(votes) > len(votes),
                "task_id": task.id,
                "votes": len(votes),
            }
        )
    return Exported(rows, [s.id for s in used])


def judgement_rows(standing: Sequence[Standing]) -> list[dict[str, Any]]:
    """One row a standing judgement of any kind, with all that is known of it; import reads them.

    What was erased is left out.
    """
    return [
        {
            "id": s.id,
            "task_id": s.task.id,
            "kind": s.task.kind,
            "prompt": list(s.task.prompt),
            "responses": list(s.task.responses),
            "policies": list(s.task.policies),
            "columns": dict(s.task.columns),
            "overlap": s.task.overlap,
            "annotator": s.annotator,
            "annotator_kind": s.annotator_kind,
            "action": s.action,
            "answer": dict(s.answer),
            "display_order": list(s.order),
            "display_seed": s.seed,
            "guideline_version": s.guideline_version,
            "time_on_task_s": s.time_on_task_s,
            "is_surplus": s.is_surplus,
            "created_at": s.created_at,
        }
        for s in standing
        if s.answer is not None
    ]


def _by_task(standing: Sequence[Standing]) -> dict[str, list[Standing]]:
    groups: dict[str, list[Standing]] = {}
    for s in standing:
        groups.setdefault(s.task.id, []).append(s)
    return groups


def _means(columns: Sequence[Sequence[float | None]]) -> list[float | None]:
    """Means over annotators, a response each, of those who rated it."""
    given = [
        [value for value in values if value is not None] for values in zip(*columns, strict=True)
    ]
    return [sum(values) / len(values) if values else None for values in given]


def counts(standing: Standing, kind: str) -> bool:
    """Whether an export of that kind of task has this in it."""
    is_said = standing.action == "judge" and standing.answer is not None
    return is_said and standing.task.kind == kind and not standing.is_surplus


def verdict_of(standing: Standing) -> Verdict:
    """A pair's verdict; "both bad" prefers neither."""
    assert standing.answer is not None
    verdict = standing.answer["verdict"]
    return "tie" if verdict == "both_bad" else verdict


def _probabilities(
    votes: Votes, used: Sequence[Standing], aggregation: Aggregation, seed: int
) -> Floats:
    """(tasks,) that a is the better."""
    groups = _by_task(used)
    if aggregation == "majority":
        return np.array([_share(said) for said in groups.values()])
    flipped = np.array([s.order[0] == 1 for s in used], dtype=np.int64)
    numbers: dict[str, int] = {}  # of responses: the same text on the same prompt is the same one
    texts = [
        [hash_json([list(task.prompt), text]) for text in task.responses]
        for task in (groups[str(name)][0].task for name in votes.tasks)
    ]
    responses = np.array([[numbers.setdefault(t, len(numbers)) for t in pair] for pair in texts])
    return p_first(PairVotes(votes, flipped, responses), aggregation=aggregation, seed=seed)


def _share(said: Sequence[Standing]) -> float:
    """The smoothed share of the votes for a; of those that are probabilities already, the mean."""
    own = [s.answer.get("p_a") for s in said if s.answer]
    given = [float(p) for p in own if p is not None]
    if len(given) == len(said):
        return sum(given) / len(given)
    return vote_share([verdict_of(s) for s in said])


def _comparison(task: Task, p_a: float, votes: int) -> dict[str, Any]:
    a, b = task.responses
    return comparison_row(task.columns, task.prompt, (a, b), p_a, task_id=task.id, votes=votes)


def _response(text: str) -> Message:
    # As a message: a text that looks like a transcript stays one response.
    return Message(role="assistant", content=text)
