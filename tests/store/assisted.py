"""Tasks with a model's opinion, and people who vote on them through the store."""

from typing import Any

from accord.core.types import Message, Submission, Task
from accord.store.assistance import SqlAssistance
from accord.store.database import Database
from accord.store.projects import SqlProjects
from accord.store.queue import SqlTaskQueue
from accord.store.revising import SqlRevisions

SUGGESTED = {"suggestion": {"agent": "policy-7", "answer": {"verdict": "a"}, "score": 0.9}}
CRITIQUED = {
    "critique": {"agent": "critic-1", "text": "[[b]] is wrong.", "answer": {"verdict": "a"}}
}


def task(name: str = "t", **values: Any) -> Task:
    """A pair of the project p."""
    prompt = (Message(role="user", content=f"question {name}"),)
    how: dict[str, Any] = {"kind": "pairwise", "responses": ("one", "two"), **values}
    return Task(name, "p", prompt=prompt, **how)


class Room:
    """A project with what it shows, and annotators."""

    def __init__(self, database: Database, *people: str, **settings: Any) -> None:
        self.projects = SqlProjects(database)
        self.projects.create("p", settings=settings)
        self.queue = SqlTaskQueue(database)
        self.assistance, self.revisions = SqlAssistance(database), SqlRevisions(database)
        for name in people or ("ann",):
            self.queue.register(name)

    def vote(self, who: str, verdict: str, *, key: str, saw: bool = False) -> str:
        """Vote on the next task; gives its id."""
        lease = self.queue.lease(who, project="p")
        assert lease is not None
        said = Submission(key, {"verdict": verdict}, time_on_task_s=3.0)
        self.queue.submit(lease, self.assistance.recorded(lease, said, saw=saw))
        return lease.task.id
