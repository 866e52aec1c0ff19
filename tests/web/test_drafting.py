"""Principles proposed and voted on in the annotation app's own pages."""

from fastapi import FastAPI
from starlette.testclient import TestClient

from accord.store.board import SqlTaskBoard
from accord.store.database import Database
from accord.store.drafting import open_project, poll_of, proposal_tasks, proposals_of, vote_tasks
from accord.store.judgements import SqlJudgements
from web.conftest import Browser
from web.test_labelling import hidden_fields

PART = {"HX-Request": "true"}


def submit(client: TestClient, shown: str, **fields: str) -> None:
    page = client.get("/label", params={"project": "law"})
    assert page.status_code == 200 and shown in page.text
    done = client.post(
        "/label/judgements", data={**hidden_fields(page.text), **fields}, headers=PART
    )
    assert done.status_code == 200, done.text


def test_a_rule_is_written_and_then_rated(
    app: FastAPI, database: Database, browser: Browser
) -> None:
    open_project(database, "law")
    board, log = SqlTaskBoard(database), SqlJudgements(database)
    board.put_up(proposal_tasks("law", people=1)[:1])
    client = browser("annotator")
    submit(client, "Propose a rule", text="Answer <b>all</b> of it.")
    (proposal,) = proposals_of(log.current("law"))
    assert proposal.text == "Answer <b>all</b> of it." and proposal.part == "helpful"
    board.put_up(vote_tasks("law", [proposal], kind="likert", people=1))
    submit(client, "Agreement", rating_0_0="6")
    poll = poll_of(log.current("law"))
    assert poll.texts == (proposal.text,) and poll.ballots[0].ranks == {0: -6.0}
