"""From standing judgements to what training reads: comparisons, rankings, demonstrations."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from accord.annotation.pairs import CATEGORIES, PairVotes, p_first
from accord.annotation.tables import Votes
from accord.annotation.votes import vote_share
from accord.core.errors import DataError
from accord.core.files import hash_json
from accord.core.types import Aggregation, Message, Task, Verdict
from accord.corpora.pairs import comparison_row
from accord.store.hints import without_hints
from accord.store.imports.entries import in_task_order
from accord.store.judgements import Standing
from accord.store.revising import FirstVote

_WORTH: Mapping[Verdict, float] = {"a": 1.0, "b": 0.0, "tie": 0.5}


@dataclass(frozen=True)
class Exported:
    """Rows in the columns that training reads, and the judgements that are in them."""

    rows: list[dict[str, Any]]
    judgement_ids: list[str]


def comparisons(
    standing: Sequence[Standing],
    *,
    aggregation: Aggregation,
    seed: int = 0,
    ruled: Mapping[str, float] | None = None,
    calibrated: Mapping[str, float] | None = None,
) -> Exported:
    """One row a judged pair, with the probability that `chosen` is the better.

    p = P(a) + P(tie) / 2 of the aggregated label; "both bad" prefers neither, and is a tie here.
    "majority" is the smoothed share of the votes, or the mean of the probabilities where all of a
    pair's judgements came with one; for the others see `annotation.pairs.p_first`. Where a rule
    was chosen, `ruled` has its probabilities by task in place of the aggregation's, and so has
    `calibrated` for pairs that models alone have judged. What a reviewer
    decided stands in place of the votes. Skips, flags, the unsure, surplus and what was erased are
    left out.

    Raises:
        DataError: no pair was judged.
    """
    used = [s for s in standing if counts(s, "pairwise")]
    decided = [s for s in standing if is_final(s)]
    if not used and not decided:
        raise DataError("no pair was judged: nothing can be exported")
    p_a = dict(ruled or {})
    if used and ruled is None:
        p_a = _probabilities(used, aggregation, seed)
    p_a |= _by_models(used, calibrated or {})
    p_a |= {s.task.id: _WORTH[verdict_of(s)] for s in decided}
    voters = Counter(s.task.id for s in used)
    tasks = {s.task.id: s.task for s in (*used, *decided)}
    rows = [_comparison(task, p_a[name], voters[name]) for name, task in tasks.items()]
    return Exported(rows, [s.id for s in (*used, *decided)])


def rankings(standing: Sequence[Standing]) -> Exported:
    """One row a ranking: prompt, completions, ranks; who did not rank a response left None."""
    used = [s for s in standing if counts(s, "ranking")]
    rows = []
    for s in used:
        assert s.answer is not None
        rows.append(
            {
                **without_hints(s.task.columns),
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
            {
                **without_hints(s.task.columns),
                "prompt": prompt,
                "completion": completion,
                "task_id": s.task.id,
            }
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
                **without_hints(task.columns),
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
                **without_hints(task.columns),
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


def first_vote_rows(votes: Sequence[FirstVote]) -> Exported:
    """One row a vote before a critique, as `judgement_rows` has it, and the vote after it."""
    said = [v for v in votes if v.first.answer is not None]
    rows = [
        {
            **row,
            "revised_by": None if v.after is None else v.after.id,
            "revised_action": None if v.after is None else v.after.action,
            "revised_answer": None
            if v.after is None or v.after.answer is None
            else dict(v.after.answer),
        }
        for v, row in zip(said, judgement_rows([v.first for v in said]), strict=True)
    ]
    told = (s for v in said for s in (v.first, v.after) if s is not None)
    return Exported(rows, [s.id for s in told if s.answer is not None])


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
    """Whether an export of that kind of task has this in it, as an annotator's vote."""
    is_said = standing.action == "judge" and standing.answer is not None
    is_vote = is_said and standing.task.kind == kind and not standing.is_surplus
    return is_vote and not is_final(standing)


def is_final(standing: Standing) -> bool:
    """Whether it is a reviewer's decision, which stands in place of the votes."""
    return bool((standing.answer or {}).get("final"))


def verdict_of(standing: Standing) -> Verdict:
    """A pair's verdict; "both bad" prefers neither."""
    assert standing.answer is not None
    verdict = standing.answer["verdict"]
    return "tie" if verdict == "both_bad" else verdict


def people_first(standing: Sequence[Standing]) -> list[Standing]:
    """Without what models said of tasks that others have judged as well."""
    by_others = {s.task.id for s in standing if s.annotator_kind != "model" and s.answer}
    return [s for s in standing if s.annotator_kind != "model" or s.task.id not in by_others]


def share_for_first(said: Sequence[Standing]) -> float:
    """The share of votes on a pair for its first response, a tie being half a vote; NaN without
    any. A judgement that came with a probability counts as that.
    """
    given = [s.answer.get("p_a") for s in said if s.answer]
    votes = [
        _WORTH[verdict_of(s)] if p is None else float(p) for s, p in zip(said, given, strict=True)
    ]
    return sum(votes) / len(votes) if votes else math.nan


def _by_models(used: Sequence[Standing], calibrated: Mapping[str, float]) -> dict[str, float]:
    by_others = {s.task.id for s in used if s.annotator_kind != "model"}
    known = {s.task.id for s in used} - by_others
    return {name: p for name, p in calibrated.items() if name in known}


def _probabilities(
    used: Sequence[Standing], aggregation: Aggregation, seed: int
) -> dict[str, float]:
    """By task, that a is the better."""
    groups = _by_task(used)
    if aggregation == "majority":
        return {name: _share(said) for name, said in groups.items()}
    votes = Votes.of([(s.task.id, s.annotator, verdict_of(s)) for s in used], categories=CATEGORIES)
    flipped = np.array([s.order[0] == 1 for s in used], dtype=np.int64)
    numbers: dict[str, int] = {}  # of responses: the same text on the same prompt is the same one
    texts = [
        [hash_json([list(task.prompt), text]) for text in task.responses]
        for task in (groups[str(name)][0].task for name in votes.tasks)
    ]
    responses = np.array([[numbers.setdefault(t, len(numbers)) for t in pair] for pair in texts])
    found = p_first(PairVotes(votes, flipped, responses), aggregation=aggregation, seed=seed)
    return {str(name): float(p) for name, p in zip(votes.tasks, found, strict=True)}


def _share(said: Sequence[Standing]) -> float:
    """The smoothed share of the votes for a; of those that are probabilities already, the mean."""
    own = [s.answer.get("p_a") for s in said if s.answer]
    given = [float(p) for p in own if p is not None]
    if len(given) == len(said):
        return sum(given) / len(given)
    return vote_share([verdict_of(s) for s in said])


def _comparison(task: Task, p_a: float, votes: int) -> dict[str, Any]:
    a, b = task.responses
    plain = without_hints(task.columns)
    columns = in_task_order(plain, is_swapped=p_a < 0.5)  # `chosen` is the first then
    return comparison_row(columns, task.prompt, (a, b), p_a, task_id=task.id, votes=votes)


def _response(text: str) -> Message:
    # As a message: a text that looks like a transcript stays one response.
    return Message(role="assistant", content=text)
