"""A constitution's principles as tasks: people propose them in one kind, and vote in another.

Proposing is a rewrite task, one sentence a rule; voting is any kind that compares or rates. The
tasks are a project's like all others: the same pages, log, undo and lineage.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from accord.annotation.elections import Ballot
from accord.core.errors import ConflictError, DataError
from accord.core.types import Message, Row, Task, TaskKind
from accord.corpora.checking.texts import normal
from accord.store.database import Database
from accord.store.exporting import counts, verdict_of
from accord.store.imports.entries import task_id, without_order
from accord.store.judgements import Standing
from accord.store.projects import SqlProjects

Part = Literal["helpful", "harmless", "honest"]
VoteKind = Literal["likert", "pairwise", "ranking"]
ATTRIBUTE = "agreement"
MOST_RANKED = 26

_EXAMPLES: Mapping[Part, str] = {
    "helpful": "The assistant answers the question that was asked before it adds anything.",
    "harmless": "The assistant helps nobody to spy on another person.",
    "honest": "The assistant says so when it does not know something.",
}

_GUIDELINES = """\
# A constitution for an assistant

**Proposing.** Write one rule for the assistant in one sentence of your own; the sentence on the \
page is an example. A good rule can be broken: one can tell a response that keeps it from one that \
does not. Have you nothing to propose, skip the task.

**Voting.** Say how far you agree that a rule should be in the constitution, or which of two rules \
matters more. There is no right answer: what counts is what you want of the assistant.
"""


@dataclass(frozen=True)
class Proposal:
    """A rule that somebody proposed; `proposers` counts those who wrote the same."""

    text: str
    part: Part
    proposers: int
    judgement_ids: tuple[str, ...]


def open_project(database: Database, project: str) -> None:
    """Make the project with guidelines for both kinds of task; one that is there stays as it is."""
    try:
        SqlProjects(database).create(
            project, title="A constitution", attributes=(ATTRIBUTE,), text=_GUIDELINES
        )
    except ConflictError:
        return


def proposal_tasks(project: str, *, people: int, each: int = 1) -> list[Task]:
    """Where people write: `each` tasks a part, for `people` people."""
    made = []
    for part, example in _EXAMPLES.items():
        for number in range(1, each + 1):
            which = f" (idea {number} of {each})" if each > 1 else ""
            text = f"Propose a rule for an assistant that is to be {part}{which}."
            columns = {"constitution": "proposal", "part": part}
            made.append(_task(project, "rewrite", text, (example,), columns, people))
    return made


def proposals_of(standing: Sequence[Standing]) -> list[Proposal]:
    """What people wrote, oldest first; equal texts are one, an example left as it was is none."""
    found: dict[str, list[Standing]] = defaultdict(list)
    for s in standing:
        if counts(s, "rewrite") and s.answer and s.task.columns.get("constitution") == "proposal":
            text = _line(s)
            if normal(text) != normal(s.task.responses[0]):
                found[normal(text)].append(s)
    return [
        Proposal(_line(said[0]), said[0].task.columns["part"], len(said), tuple(s.id for s in said))
        for said in found.values()
    ]


def _line(s: Standing) -> str:
    assert s.answer is not None
    return " ".join(str(s.answer["text"]).split())


def vote_tasks(
    project: str, proposals: Sequence[Proposal], *, kind: VoteKind, people: int
) -> list[Task]:
    """Where people vote: on each rule, on all pairs, or on all of them in one ranking.

    Raises:
        DataError: nothing to vote on, or too many rules for one ranking.
    """
    texts = {p.text: p.part for p in proposals}
    least = 1 if kind == "likert" else 2
    if len(texts) < least:
        raise DataError(f"project {project!r}: {len(texts)} proposals, a {kind} needs {least}")
    if kind == "ranking" and len(texts) > MOST_RANKED:
        raise DataError(
            f"project {project!r}: {len(texts)} proposals are more than the {MOST_RANKED} that one "
            "ranking holds; vote by likert or pairwise"
        )
    question = {
        "likert": "How far do you agree that this rule should be in the constitution?",
        "pairwise": "Which of the two rules matters more for the constitution?",
        "ranking": "Rank the rules by how much they matter for the constitution.",
    }[kind]
    groups: list[tuple[str, ...]] = [(text,) for text in texts]
    if kind != "likert":
        size = 2 if kind == "pairwise" else len(texts)
        groups = [without_order(group)[0] for group in combinations(texts, size)]
    return [
        _task(
            project,
            kind,
            question,
            group,
            {"constitution": "vote", "parts": [texts[text] for text in group]},
            people,
        )
        for group in groups
    ]


def _task(
    project: str, kind: TaskKind, text: str, responses: tuple[str, ...], columns: Row, people: int
) -> Task:
    prompt = (Message(role="user", content=text),)
    name = task_id(project, kind, prompt, responses)
    none = (None,) * len(responses)
    return Task(name, project, kind, prompt, responses, none, columns, people)


@dataclass(frozen=True)
class Poll:
    """Rules that were voted on, with their parts, and what each voter said of them."""

    texts: tuple[str, ...]
    parts: tuple[Part, ...]
    ballots: tuple[Ballot, ...]
    judgement_ids: tuple[str, ...]

    @property
    def voters(self) -> list[str]:
        """Who voted, by name."""
        return sorted({ballot.voter for ballot in self.ballots})


def poll_of(standing: Sequence[Standing]) -> Poll:
    """The votes of people (and of simulated ones; models do not decide) on a project's rules.

    Raises:
        DataError: nobody has voted.
    """
    used = [
        s
        for s in standing
        if s.task.columns.get("constitution") == "vote"
        and s.annotator_kind != "model"
        and any(counts(s, kind) for kind in ("likert", "pairwise", "ranking"))
    ]
    if not used:
        raise DataError("nobody has voted on a rule yet; see accord constitution vote")
    parts: dict[str, Part] = {}
    for s in used:
        parts |= dict(zip(s.task.responses, s.task.columns["parts"], strict=True))
    places = {text: place for place, text in enumerate(parts)}
    ballots: list[Ballot] = []
    rated: dict[str, dict[int, float]] = defaultdict(dict)
    for s in used:
        assert s.answer is not None
        own = [places[text] for text in s.task.responses]
        if s.task.kind == "likert":
            rated[s.annotator] |= dict(zip(own, _means(s), strict=True))
        elif s.task.kind == "pairwise":
            ranks = {"a": (0.0, 1.0), "b": (1.0, 0.0), "tie": (0.0, 0.0)}[verdict_of(s)]
            ballots.append(Ballot(s.annotator, dict(zip(own, ranks, strict=True))))
        else:
            ranked = zip(own, s.answer["ranks"], strict=True)
            ballots.append(Ballot(s.annotator, {o: float(r) for o, r in ranked if r is not None}))
    ballots += [Ballot(voter, {o: -v for o, v in found.items()}) for voter, found in rated.items()]
    return Poll(tuple(places), tuple(parts.values()), tuple(ballots), tuple(s.id for s in used))


def _means(s: Standing) -> list[float]:
    """A voter's mean rating of each response; the middle where none was given."""
    assert s.answer is not None
    columns = zip(*s.answer["ratings"].values(), strict=True)
    given = [[v for v in values if v is not None] for values in columns]
    return [sum(values) / len(values) if values else 4.0 for values in given]
