"""Many annotators at once through the API: overlap is exact, and nobody is told to come again."""

import threading
import uuid
from collections import Counter
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from accord.web.services import Services
from web.app_parts import rows

PEOPLE, TASKS, OVERLAP = 16, 12, 3


@pytest.mark.parametrize("is_ahead", [False, True])
def test_overlap_is_exact(app: FastAPI, services: Services, program: Any, is_ahead: bool) -> None:
    lead = program("lead")
    lead.post("/api/v1/projects/chat/tasks", json={"rows": rows(TASKS), "overlap": OVERLAP})
    keys, statuses = [], []
    for number in range(PEOPLE):
        services.accounts.create(f"a{number}", "annotator")
        keys.append(services.access.issue_token(f"a{number}", "t", ["annotate"])[1])

    def work(key: str) -> None:
        client = TestClient(app, headers={"Authorization": f"Bearer {key}"})
        while lease := client.post("/api/v1/projects/chat/lease").json():
            if is_ahead:  # the next one is held while this one is done
                beside = {"beside": lease["task"]["id"]}
                following = client.post("/api/v1/projects/chat/lease", params=beside).json()
                assert following is None or following["task"] != lease["task"]
            given = {"task_id": lease["task"]["id"], "lease": lease["lease"]}
            body = {**given, "key": uuid.uuid4().hex, "answer": {"verdict": "a"}}
            for _ in range(2):  # as a client does that lost the first answer
                statuses.append(client.post("/api/v1/judgements", json=body).status_code)

    threads = [threading.Thread(target=work, args=(key,)) for key in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    standing = services.judgements.current("chat")
    assert Counter(s.task.id for s in standing) == dict.fromkeys(
        [f"t{i}" for i in range(TASKS)], OVERLAP
    )
    assert not any(s.is_surplus for s in standing)
    assert statuses == [200] * (2 * TASKS * OVERLAP)
    assert services.judgements.is_whole()
