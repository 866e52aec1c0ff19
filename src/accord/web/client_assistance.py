"""The client's part beside the votes: models' opinions, votes after them, figures, decisions."""

import uuid
from collections.abc import Mapping
from typing import Any

from accord.web.client_sending import Json, Sender, quoted


class AssistanceCalls(Sender):
    """What `Client` does of it."""

    def revise(
        self,
        judgement_id: str,
        answer: Mapping[str, Any],
        *,
        action: str = "judge",
        key: str | None = None,
        time_on_task_s: float | None = None,
        guideline_version: int | None = None,
    ) -> Json:
        """Hand in the vote after a critique: the first again, another, or `action` unsure."""
        body = {
            "key": key or uuid.uuid4().hex,
            "action": action,
            "answer": dict(answer),
            "time_on_task_s": time_on_task_s,
            "guideline_version": guideline_version,
        }
        found: Json = self._post(f"/judgements/{quoted(judgement_id)}/revise", body)
        return found

    def unrevised(self, project: str) -> list[Json]:
        """One's own first votes that wait for the one after the critique."""
        found: list[Json] = self._get(f"/projects/{quoted(project)}/unrevised")
        return found

    def uncritiqued(self, project: str, *, limit: int = 50) -> list[Json]:
        """Tasks without a critique; for leads and machines."""
        path = f"/projects/{quoted(project)}/uncritiqued"
        found: list[Json] = self._get(path, limit=limit)
        return found

    def give_critique(
        self, project: str, task_id: str, text: str, *, answer: Mapping[str, Any] | None = None
    ) -> bool:
        """Put a critique to a task, and the answer it argues for; False where it was there."""
        said = {
            "task_id": task_id,
            "text": text,
            "answer": None if answer is None else dict(answer),
        }
        path = f"/projects/{quoted(project)}/critiques"
        return bool(self._post(path, said)["is_new"])

    def overview(self, project: str) -> Json:
        """What its dashboard shows: people, agreement, disputes, flagged tasks, cost."""
        found: Json = self._get(f"/projects/{quoted(project)}/overview")
        return found

    def decide(self, task_id: str, verdict: str, *, key: str | None = None) -> Json:
        """The last word on a disputed pair; for leads and reviewers."""
        body = {"task_id": task_id, "verdict": verdict, "key": key or uuid.uuid4().hex}
        found: Json = self._post("/decisions", body)
        return found

    def assistance(self, project: str) -> Json:
        """What suggestions and critiques do to a project's votes."""
        found: Json = self._get(f"/projects/{quoted(project)}/assistance")
        return found
