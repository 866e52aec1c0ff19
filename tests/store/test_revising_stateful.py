"""Votes before and after critiques under any order of leases, undos and lost leases."""

import uuid
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from accord.core.errors import ConflictError
from accord.core.types import Lease, Message, Submission, Task
from accord.store.assistance import SqlAssistance
from accord.store.projects import SqlProjects
from accord.store.revising import SqlRevisions, phase_of
from store.assisted import CRITIQUED
from store.test_stateful import NAMES, Slots, names


class Votes(Slots):
    """The model besides: which events are first votes, and who has seen which critique."""

    def __init__(self) -> None:
        super().__init__()
        shown = {"show_critiques": True, "hidden_critiques": 0}
        SqlProjects(self.database).create("p", settings=shown)
        self.assistance = SqlAssistance(self.database)
        self.revisions = SqlRevisions(self.database, now=lambda: self.at)
        self.phases: dict[str, str] = {}
        self.seen: set[tuple[str, str]] = set()

    @rule(overlap=st.integers(1, 3))
    def put_up(self, overlap: int) -> None:
        name = f"t{len(self.overlap)}"
        prompt = (Message(role="user", content="q"),)
        task = Task(name, "p", "pairwise", prompt, ("x", "y"), columns=CRITIQUED, overlap=overlap)
        self.queue.add([task])
        self.overlap[name] = overlap

    @rule(lease=Slots.leases, action=st.sampled_from(["judge", "judge", "skip", "unsure"]))
    def hand_in(self, lease: Lease | None, action: Any) -> None:
        if lease is None:
            return
        place, key = (lease.task.id, lease.annotator), uuid.uuid4().hex
        submission = Submission(key, {"verdict": "a"} if action == "judge" else {}, action=action)
        try:
            said = self.assistance.recorded(lease, submission, saw=False)
            receipt = self.queue.submit(lease, said)
        except ConflictError:
            assert place in self.standing
            return
        assert self.assistance.recorded(lease, submission, saw=False) == said
        self.events += 1
        self.standing[place] = (key, "surplus" if receipt.is_surplus else action)
        if action == "judge":
            self.phases[key] = "again" if place in self.seen else "first"
            self.seen.add(place)

    @rule(who=names, number=st.integers(0, 3), verdict=st.sampled_from(["a", "b"]))
    def revise(self, who: str, number: int, verdict: str) -> None:
        mine = [place for place in self.standing if place[1] == who]
        if not mine:
            return
        place = mine[number % len(mine)]
        before, kind = self.standing[place]
        submission = Submission(uuid.uuid4().hex, {"verdict": verdict})
        if self.phases.get(before) != "first":
            with pytest.raises(ConflictError):
                self.revisions.revise(who, before, submission)
            return
        receipt = self.revisions.revise(who, before, submission)
        assert self.revisions.revise(who, before, submission) == receipt
        self.events += 1
        assert receipt.sequence == self.events
        self.standing[place] = (submission.key, kind)
        self.phases[submission.key] = "after"

    @invariant()
    def phases_are_told(self) -> None:
        for s in self.log.current():
            assert phase_of(s) == self.phases.get(s.id)
        waiting = {key for key, _ in self.standing.values() if self.phases.get(key) == "first"}
        pending = {p.first.id for who in NAMES for p in self.revisions.pending(who, "p")}
        assert pending == waiting
        votes = self.revisions.first_votes("p")
        assert {v.first.id for v in votes if v.after is None} == waiting
        after = {key for key, _ in self.standing.values() if self.phases.get(key) == "after"}
        assert {v.after.id for v in votes if v.after is not None} == after


TestVotes = Votes.TestCase
TestVotes.settings = settings(max_examples=20, stateful_step_count=25, deadline=None)
