"""Slots and undo under any order of events, against a model that is a few lines long."""

import uuid
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule
from sqlalchemy import select

from accord.core.errors import ConflictError
from accord.core.types import Lease, Message, Submission, Task
from accord.store.database import Database
from accord.store.judgements import SqlJudgements
from accord.store.queue import SqlTaskQueue
from accord.store.schema import annotators, slots

LEASE_S = 10.0
NAMES = ("ann", "bob", "eve")
names = st.sampled_from(NAMES)


class Slots(RuleBasedStateMachine):
    """The model: who said what of which task and still stands, and nothing else."""

    leases = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.at = 1000.0
        self.database = Database.open(path=Path(self.folder.name) / "store.db")
        self.queue = SqlTaskQueue(self.database, lease_s=LEASE_S, now=lambda: self.at)
        self.log = SqlJudgements(self.database)
        for name in NAMES:
            self.queue.register(name)
        self.overlap: dict[str, int] = {}
        self.standing: dict[tuple[str, str], tuple[str, str]] = {}  # (task, who) -> key, action
        self.events = 0

    def teardown(self) -> None:
        self.database.close()
        self.folder.cleanup()

    @rule(overlap=st.integers(1, 3))
    def put_up(self, overlap: int) -> None:
        name = f"t{len(self.overlap)}"
        prompt = (Message(role="user", content="q"),)
        self.queue.add([Task(name, "p", "pairwise", prompt, ("x", "y"), overlap=overlap)])
        self.overlap[name] = overlap

    @rule(target=leases, who=names)
    def lease(self, who: str) -> Lease | None:
        found = self.queue.lease(who)
        if found is not None:
            assert (found.task.id, who) not in self.standing
            again = self.queue.lease(who)
            assert again is not None and again.id == found.id
        return found

    @rule(target=leases, who=names, lease=leases)
    def lease_ahead(self, who: str, lease: Lease | None) -> Lease | None:
        if lease is None:
            return None
        before = self.held(who)
        found = self.queue.lease(who, beside=lease.task.id)
        assert found is None or found.task.id != lease.task.id
        assert len(self.held(who)) <= max(2, len(before))
        return found

    def held(self, who: str) -> list[str]:
        query = (
            select(slots.c.task_id)
            .join(annotators, annotators.c.id == slots.c.annotator_id)
            .where(
                annotators.c.name == who,
                slots.c.judgement_id.is_(None),
                slots.c.leased_until > self.at,
            )
        )
        with self.database.reading() as connection:
            return list(connection.execute(query).scalars())

    @rule(lease=leases, action=st.sampled_from(["judge", "skip", "unsure", "flag"]))
    def hand_in(self, lease: Lease | None, action: Any) -> None:
        if lease is None:
            return
        place = (lease.task.id, lease.annotator)
        answer = {"verdict": "a"} if action == "judge" else {}
        submission = Submission(uuid.uuid4().hex, answer, action=action)
        try:
            receipt = self.queue.submit(lease, submission)
        except ConflictError:
            assert place in self.standing
            return
        assert place not in self.standing
        assert self.queue.submit(lease, submission) == receipt
        self.events += 1
        assert receipt.sequence == self.events
        kind = "surplus" if receipt.is_surplus else action
        self.standing[place] = (submission.key, kind)

    @rule(who=names, number=st.integers(0, 3))
    def undo(self, who: str, number: int) -> None:
        mine = [(place, said) for place, said in self.standing.items() if place[1] == who]
        if not mine:
            return
        place, (key, _) = mine[number % len(mine)]
        self.queue.undo(who, key, key=uuid.uuid4().hex)
        self.events += 1
        del self.standing[place]

    @rule(lease=leases)
    def give_back(self, lease: Lease | None) -> None:
        if lease is not None:
            self.queue.release(lease)

    @rule(seconds=st.sampled_from([-30.0, 3.0, 11.0]))
    def wait(self, seconds: float) -> None:
        self.at += seconds

    @invariant()
    def the_view_is_what_stands(self) -> None:
        seen = {(s.task.id, s.annotator): s.id for s in self.log.current()}
        assert seen == {place: key for place, (key, _) in self.standing.items()}

    @invariant()
    def overlap_is_exact(self) -> None:
        filling = [t for (t, _), (_, kind) in self.standing.items() if kind in ("judge", "unsure")]
        assert all(filling.count(name) <= overlap for name, overlap in self.overlap.items())
        counts = self.queue.progress("p")
        assert counts["done"] == len(filling)
        assert counts["slots"] == sum(self.overlap.values())
        assert counts["free"] >= 0

    @invariant()
    def the_chain_holds(self) -> None:
        assert self.log.is_whole()


TestSlots = Slots.TestCase
TestSlots.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
