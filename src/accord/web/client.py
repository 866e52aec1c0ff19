"""A small client of the REST API: a method for everything that it does."""

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from accord.web.client_assistance import AssistanceCalls
from accord.web.client_people import PeopleCalls
from accord.web.client_sending import Json, quoted
from accord.web.client_sending import RefusedError as RefusedError


class Client(AssistanceCalls, PeopleCalls):
    """Speaks with an annotation server.

        client = Client("http://127.0.0.1:8787", token)
        while lease := client.lease("chat"):
            client.submit(lease, {"verdict": "a"})

    Methods raise DataError, NotFoundError or ConflictError as the store does, and RefusedError.

    Args:
        url: of the server.
        token: of an account, with the scopes that are needed (read, annotate, manage).
        timeout_s: how long to wait for an answer.
    """

    def lease(self, project: str, *, beside: str | None = None) -> Json | None:
        """The task that one holds already, or the next one; None when nothing is left. `beside` is
        the id of a task that one is at: another is then held, too, but no third one. Where it has
        a `warning`, people are to be asked before they are shown it.
        """
        query = "" if beside is None else f"?{urlencode({'beside': beside})}"
        found: Json | None = self._post(f"/projects/{quoted(project)}/lease{query}", {})
        return found

    def submit(
        self,
        lease: Mapping[str, Any],
        answer: Mapping[str, Any],
        *,
        action: str = "judge",
        key: str | None = None,
        time_on_task_s: float | None = None,
        saw_suggestion: bool = False,
    ) -> Json:
        """Hand an answer in; give a `key` to be able to send it again after a lost connection.

        Say whether the lease's `suggestion` was shown. A `critique` in what comes back wants a
        `revise` of the judgement.
        """
        body = {
            "task_id": lease["task"]["id"],
            "lease": lease["lease"],
            "key": key or uuid.uuid4().hex,
            "action": action,
            "answer": dict(answer),
            "time_on_task_s": time_on_task_s,
            "guideline_version": lease["guideline_version"],
            "saw_suggestion": saw_suggestion,
        }
        found: Json = self._post("/judgements", body)
        return found

    def release(self, lease: Mapping[str, Any]) -> None:
        """Give a task back undone."""
        self._post("/release", {"task_id": lease["task"]["id"], "lease": lease["lease"]})

    def undo(self, judgement_id: str, *, key: str | None = None) -> Json:
        """Take a judgement of one's own back; gives the lease of its task."""
        path = f"/judgements/{quoted(judgement_id)}/undo"
        found: Json = self._post(path, {"key": key or uuid.uuid4().hex})
        return found

    def my_judgements(self) -> list[Json]:
        """One's own last ten that stand, the newest first."""
        found: list[Json] = self._get("/judgements/mine")
        return found

    def projects(self) -> list[Json]:
        """All projects."""
        found: list[Json] = self._get("/projects")
        return found

    def project(self, name: str) -> Json:
        """One project."""
        found: Json = self._get(f"/projects/{quoted(name)}")
        return found

    def create_project(self, name: str, **values: Any) -> Json:
        """A new one; values are title, attributes, settings, guidelines, is_open."""
        found: Json = self._post("/projects", {"name": name, **values})
        return found

    def change_project(self, name: str, **values: Any) -> Json:
        """Change title, attributes, settings, or is_open."""
        found: Json = self._send("PATCH", f"/projects/{quoted(name)}", values)
        return found

    def guidelines(self, project: str, version: int | None = None) -> Json:
        """The newest, or those of a version."""
        found: Json = self._get(f"/projects/{quoted(project)}/guidelines", version=version)
        return found

    def add_guidelines(self, project: str, text: str, **how: Any) -> Json:
        """The next version; `requalify` has everybody qualify again."""
        body = {"text": text, **how}
        found: Json = self._post(f"/projects/{quoted(project)}/guidelines", body)
        return found

    def add_tasks(
        self, project: str, rows: Sequence[Mapping[str, Any]], **how: Any
    ) -> dict[str, int]:
        """Put rows up as tasks; `how` are kind and overlap. Gives how many were new and known."""
        body = {"rows": [dict(row) for row in rows], **how}
        found: dict[str, int] = self._post(f"/projects/{quoted(project)}/tasks", body)
        return found

    def tasks(self, project: str, **filters: Any) -> Json:
        """A page of tasks by text, kind, state (open, done, flagged), limit and offset."""
        found: Json = self._get(f"/projects/{quoted(project)}/tasks", **filters)
        return found

    def progress(self, project: str) -> dict[str, int]:
        """Counts of tasks, slots, and slots that are free, leased and done."""
        found: dict[str, int] = self._get(f"/projects/{quoted(project)}/progress")
        return found

    def judgements(self, project: str) -> Iterator[Json]:
        """All judgements that stand."""
        text, _ = self._text("GET", f"/projects/{quoted(project)}/judgements", None)
        return map(json.loads, text.splitlines())

    def export(self, project: str, **what: Any) -> tuple[list[Json], str]:
        """Rows that training reads, and the hash by which the store knows what went in.

        `what` is what (comparisons, rankings, demonstrations, first_votes), aggregation and seed.
        """
        text, headers = self._text("POST", f"/projects/{quoted(project)}/exports", what)
        return [json.loads(line) for line in text.splitlines()], headers["Accord-Export"]

    def judgements_of_export(self, sha256: str) -> list[str]:
        """Ids of the judgements in an export."""
        found: list[str] = self._get(f"/exports/{quoted(sha256)}")["judgements"]
        return found

    def erase(self, *, annotator: str | None = None, judgements: Sequence[str] = ()) -> list[str]:
        """Delete what was said; gives the hashes of the exports that hold some of it."""
        body = {"annotator": annotator, "judgements": list(judgements)}
        found: list[str] = self._post("/erasures", body)["exports"]
        return found

    def accounts(self) -> list[Json]:
        """All accounts."""
        found: list[Json] = self._get("/accounts")
        return found

    def create_account(self, name: str, role: str, *, kind: str | None = None) -> Json:
        """A new account; `link` invites the person behind it."""
        found: Json = self._post("/accounts", {"name": name, "role": role, "kind": kind})
        return found

    def change_account(self, name: str, **values: Any) -> Json:
        """Another role, or is_active."""
        found: Json = self._send("PATCH", f"/accounts/{quoted(name)}", values)
        return found

    def invite(self, name: str) -> str:
        """Another link for somebody who has an account."""
        return str(self._post("/links", {"name": name})["link"])

    def me(self) -> Json:
        """One's own account."""
        found: Json = self._get("/me")
        return found

    def describe_me(self, **values: Any) -> Json:
        """Opt out of categories (opted_out); declare groups (groups, with consent)."""
        found: Json = self._send("PATCH", "/me", values)
        return found

    def change_password(self, old: str, new: str) -> None:
        """Take another password."""
        self._post("/me/password", {"old": old, "new": new})

    def tokens(self) -> list[Json]:
        """One's own tokens; a lead sees all."""
        found: list[Json] = self._get("/tokens")
        return found

    def issue_token(self, name: str, scopes: Sequence[str], **how: Any) -> Json:
        """A new one, with its secret; `how` are expires_in_s and account."""
        found: Json = self._post("/tokens", {"name": name, "scopes": list(scopes), **how})
        return found

    def revoke_token(self, token_id: int) -> None:
        """End a token."""
        self._send("DELETE", f"/tokens/{token_id}", None)

    def webhooks(self, project: str) -> list[Json]:
        """A project's webhooks."""
        found: list[Json] = self._get(f"/projects/{quoted(project)}/webhooks")
        return found

    def add_webhook(self, project: str, url: str, events: Sequence[str]) -> Json:
        """Tell an address of events; the answer holds the secret that signs."""
        body = {"url": url, "events": list(events)}
        found: Json = self._post(f"/projects/{quoted(project)}/webhooks", body)
        return found

    def change_webhook(self, project: str, webhook_id: int, **values: Any) -> Json:
        """Another url, other events; is_on: off, or on again."""
        path = f"/projects/{quoted(project)}/webhooks/{webhook_id}"
        found: Json = self._send("PATCH", path, values)
        return found

    def remove_webhook(self, project: str, webhook_id: int) -> None:
        """Tell it of nothing more."""
        self._send("DELETE", f"/projects/{quoted(project)}/webhooks/{webhook_id}", None)
