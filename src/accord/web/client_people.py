"""The client's part for who may work in a project: members, and the qualification round."""

from collections.abc import Mapping, Sequence
from typing import Any

from accord.web.client_sending import Json, Sender, quoted


class PeopleCalls(Sender):
    """What `Client` does of it."""

    def members(self, project: str) -> list[str]:
        """Who was let in; it counts where the project is not open (`change_project`, is_open)."""
        found: list[str] = self._send("GET", _path(project, "members"), None)
        return found

    def add_member(self, project: str, name: str) -> None:
        """Let somebody in."""
        self._send("PUT", _path(project, "members", name), {})

    def remove_member(self, project: str, name: str) -> None:
        """Take somebody off the list."""
        self._send("DELETE", _path(project, "members", name), None)

    def qualification(self, project: str) -> Json:
        """What is asked of annotators, and how far everybody is (people)."""
        found: Json = self._send("GET", _path(project, "qualification"), None)
        return found

    def change_qualification(self, project: str, **values: Any) -> Json:
        """Switch it on or off (is_required), or change the share that passes (pass_share)."""
        found: Json = self._send("PATCH", _path(project, "qualification"), values)
        return found

    def questions(self, project: str) -> list[Json]:
        """What is asked, with the answers."""
        found: list[Json] = self._send("GET", _path(project, "qualification", "questions"), None)
        return found

    def ask(
        self, project: str, rows: Sequence[Mapping[str, Any]] | None, *, kind: str = "pairwise"
    ) -> list[Json]:
        """Ask these from now on: rows of gold questions, each with a reason; None: the set that
        ships.
        """
        body = {"rows": None if rows is None else [dict(row) for row in rows], "kind": kind}
        found: list[Json] = self._send("PUT", _path(project, "qualification", "questions"), body)
        return found

    def let_pass(self, project: str, annotator: str) -> None:
        """Let somebody in, whatever he has answered."""
        self._decide(project, annotator, "pass")

    def let_try_again(self, project: str, annotator: str) -> None:
        """Another round for somebody who failed."""
        self._decide(project, annotator, "again")

    def next_question(self, project: str) -> Json:
        """How far one is, and the next question."""
        found: Json = self._send("GET", _path(project, "qualify"), None)
        return found

    def answer_question(
        self,
        project: str,
        question_id: str,
        answer: Mapping[str, Any],
        *,
        action: str = "judge",
    ) -> Json:
        """Answer a question; gives what was expected, and why."""
        body = {"question_id": question_id, "answer": dict(answer), "action": action}
        found: Json = self._send("POST", _path(project, "qualify"), body)
        return found

    def _decide(self, project: str, annotator: str, decision: str) -> None:
        body = {"annotator": annotator, "decision": decision}
        self._send("POST", _path(project, "qualification", "decisions"), body)


def _path(project: str, *parts: str) -> str:
    return "/".join(["/projects", *(quoted(part) for part in (project, *parts))])
