"""What must not work: other sites, guessing, floods, stale doors; and what is never told."""

import logging
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from accord.core.errors import ConfigError
from accord.store.access import SESSION_S
from accord.store.database import Database
from accord.web.app import build_app
from accord.web.gate import COOKIE, MEMBERS_BYTES, STRANGERS_BYTES
from accord.web.limits import RateLimiter
from accord.web.services import Services
from web.app_parts import ORIGIN, PASSWORD, Clock

NEW = {"name": "other"}


def sign_in(client: TestClient, name: str, password: str = PASSWORD, **form: str) -> Any:
    return client.post("/login", data={"name": name, "password": password, **form})


@pytest.fixture
def known(services: Services) -> None:
    services.passwords.set("annotator", PASSWORD)


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "https://testserver", "http://testserver:81", ""]
)
def test_other_sites_change_nothing(browser: Any, services: Services, origin: str) -> None:
    """Even with the session's cookie and its token."""
    client = browser("lead")
    answer = client.post("/api/v1/projects", json=NEW, headers={"Origin": origin})
    assert answer.status_code == 403
    assert "another site" in answer.json()["error"]
    for path in ("/login", "/logout", "/join/x"):
        assert client.post(path, headers={"Origin": origin}).status_code == 403
    assert [project.name for project in services.projects.all()] == ["chat"]


def test_a_browser_that_names_no_origin(browser: Any) -> None:
    client = browser("lead")
    del client.headers["Origin"]
    for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 201)):
        answer = client.post("/api/v1/projects", json=NEW, headers={"Sec-Fetch-Site": site})
        assert answer.status_code == status


@pytest.mark.parametrize("token", [None, "", "0" * 64, "\u00e9".encode()])
def test_the_csrf_token_is_needed(browser: Any, token: Any) -> None:
    client = browser("lead")
    right = client.headers.pop("X-CSRF-Token")
    headers = {} if token is None else {"X-CSRF-Token": token}
    assert client.post("/api/v1/projects", json=NEW, headers=headers).status_code == 403
    assert client.post("/logout", data={"csrf": "wrong"}).status_code == 403
    assert client.get("/api/v1/projects").status_code == 200
    assert client.post("/logout", data={"csrf": right}).status_code == 303
    assert client.get("/api/v1/projects").status_code == 401


def test_a_token_of_another_session_is_none(browser: Any) -> None:
    one, other = browser("lead"), browser("lead")
    one.headers["X-CSRF-Token"] = other.headers["X-CSRF-Token"]
    assert one.post("/api/v1/projects", json=NEW).status_code == 403


def test_programs_need_no_csrf_token(program: Any) -> None:
    answer = program("lead").post(
        "/api/v1/projects", json=NEW, headers={"Origin": "http://evil.example"}
    )
    assert answer.status_code == 201


def test_a_wrong_bearer_is_not_helped_by_a_cookie(browser: Any, program: Any) -> None:
    client = browser("lead")
    wrong = {"Authorization": "Bearer nonsense"}
    assert client.post("/api/v1/projects", json=NEW, headers=wrong).status_code == 401
    right = {"Authorization": program("lead").headers["Authorization"]}
    stranger = browser(None)
    assert stranger.get("/api/v1/me", headers=right).status_code == 200
    assert stranger.post("/logout", headers=right).status_code == 303
    # A proxy's own scheme is none of ours.
    assert client.get("/api/v1/me", headers={"Authorization": "Basic eA=="}).status_code == 200


def test_behind_a_proxy(database: Database, clock: Clock) -> None:
    app = build_app(database, public_url="https://label.example:443", now=clock)
    app.state.services.accounts.create("ann", "lead")
    app.state.services.passwords.set("ann", PASSWORD)
    client = TestClient(app, base_url="http://inner:8787", follow_redirects=False)
    assert sign_in(client, "ann").status_code == 303
    client.headers["Origin"] = "http://inner:8787"
    assert sign_in(client, "ann").status_code == 403
    client.headers["Origin"] = "https://label.example"
    answer = sign_in(client, "ann")
    assert "; Secure" in answer.headers["Set-Cookie"]
    assert "max-age" in answer.headers["Strict-Transport-Security"]
    for wrong in ("label.example", "ftp://x", "https://x/path"):
        with pytest.raises(ConfigError, match="public_url"):
            build_app(database, public_url=wrong)


def test_signing_in_and_out(browser: Any, known: None, clock: Clock) -> None:
    client = browser(None)
    assert 'action="/login"' in client.get("/login?next=/label%3Fa=1").text
    answer = sign_in(client, "annotator", next="/label?project=chat")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/label?project=chat")
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "samesite=lax" in cookie.lower() and "Secure" not in cookie
    assert client.get("/api/v1/me").json()["name"] == "annotator"
    clock.at += SESSION_S
    assert client.get("/api/v1/me").status_code == 401


@pytest.mark.parametrize("to", ["//evil.example", "/\\evil.example", "https://evil.example", "x"])
def test_signing_in_leads_to_this_site(browser: Any, known: None, to: str) -> None:
    assert sign_in(browser(None), "annotator", next=to).headers["Location"] == "/"
    assert "evil" not in browser(None).get("/login", params={"next": to}).text


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("annotator", "guess at it"),
        ("nobody", PASSWORD),
        ("lead", ""),
        ("lead", PASSWORD),
        ("a\0", "guess at it"),
        ("<script>alert(1)</script>", "x" * 2000),
    ],
)
def test_wrong_names_and_passwords_look_alike(
    browser: Any, known: None, name: str, password: str
) -> None:
    answer = sign_in(browser(None), name, password)
    assert answer.status_code in (401, 422)
    assert "Set-Cookie" not in answer.headers
    assert "<script" not in answer.text and "\0" not in answer.text
    assert not password or password not in answer.text
    assert answer.status_code == 422 or "The name or the password is wrong" in answer.text


def test_guessing_is_slow(browser: Any, known: None, clock: Clock) -> None:
    client = browser(None)
    for _ in range(10):
        assert sign_in(client, "annotator", "wrong").status_code == 401
    answer = sign_in(client, "annotator")
    assert answer.status_code == 429 and 0 < int(answer.headers["Retry-After"]) <= 91
    assert sign_in(client, "someone else", "wrong").status_code == 401
    clock.at += 91
    assert sign_in(client, "annotator").status_code == 303


def test_guessing_many_names_is_slow(browser: Any, known: None, services: Services) -> None:
    services.passwords._verify = lambda *_: False  # type: ignore[method-assign]
    client = browser(None)
    statuses = [sign_in(client, f"name {i}", "wrong").status_code for i in range(51)]
    assert statuses == [401] * 50 + [429]


def test_whoever_is_switched_off_is_out(browser: Any, program: Any, services: Services) -> None:
    services.passwords.set("annotator", PASSWORD)
    client, tool = browser("annotator"), program("annotator")
    assert client.get("/api/v1/me").status_code == tool.get("/api/v1/me").status_code == 200
    lead = browser("lead")
    answer = lead.patch("/api/v1/accounts/annotator", json={"is_active": False})
    assert answer.json()["is_active"] is False
    assert client.get("/api/v1/me").status_code == tool.get("/api/v1/me").status_code == 401
    assert sign_in(browser(None), "annotator").status_code == 401
    answer = lead.patch("/api/v1/accounts/lead", json={"is_active": False})
    assert answer.status_code == 409 and "only lead" in answer.json()["error"]


def test_expired_and_revoked_tokens(program: Any, browser: Any, clock: Clock) -> None:
    short, long = program("annotator", expires_in_s=60), program("annotator")
    assert short.get("/api/v1/me").status_code == 200
    clock.at += 60
    assert short.get("/api/v1/me").status_code == 401
    mine = long.get("/api/v1/tokens").json()
    assert [token["name"] for token in mine] == ["test", "test"]
    assert long.delete(f"/api/v1/tokens/{mine[1]['id']}").status_code == 204
    assert long.get("/api/v1/me").status_code == 401


def test_a_flood_is_held_back(database: Database, clock: Clock) -> None:
    app = build_app(database, requests_per_minute=3, now=clock)
    client = TestClient(app)
    statuses = [client.get("/api/v1/me").status_code for _ in range(4)]
    assert statuses == [401, 401, 401, 429]
    clock.at += 20
    assert client.get("/api/v1/me").status_code == 401


def test_a_bucket_by_hand() -> None:
    at = [0.0]
    limiter = RateLimiter(2, 10.0, now=lambda: at[0])
    assert [limiter.wait_s("k") for _ in range(3)] == [0.0, 0.0, 5.0]
    at[0] = 4.0
    assert limiter.wait_s("k") == pytest.approx(1.0)
    assert limiter.wait_s("other") == 0.0
    at[0] = -100.0  # a clock that jumps back gives nothing, and takes nothing
    assert limiter.wait_s("k") == pytest.approx(1.0)
    at[0] = -99.0
    assert limiter.wait_s("k") == 0.0


def test_too_much_is_refused(browser: Any, program: Any) -> None:
    answer = browser(None).post("/login", data={"name": "x" * STRANGERS_BYTES})
    assert answer.status_code == 413 and "bytes" in answer.text
    tool = program("lead")
    answer = tool.post("/api/v1/projects", content=b" " * (MEMBERS_BYTES + 1))
    assert answer.status_code == 413 and "bytes" in answer.json()["error"]


def test_headers_of_every_answer(app: FastAPI, browser: Any) -> None:
    client = browser("lead")
    for path in ("/login", "/api/v1/me", "/api/docs", "/nowhere", "/api/nowhere"):
        headers = client.get(path).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy and "base-uri 'none'" in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["Cache-Control"] == "no-store"
        assert "Access-Control-Allow-Origin" not in headers


def test_own_pages_load_nothing_from_elsewhere(browser: Any, services: Services) -> None:
    client = browser("lead")
    link = "/join/" + services.access.invite("annotator", sets_password=True)
    for path in ("/login", link, "/api/docs", "/nowhere"):
        text = client.get(path).text
        assert "http://" not in text and "https://" not in text
        assert "<script" not in text and "<style" not in text and " style=" not in text


def test_errors_for_programs_and_for_people(browser: Any, services: Services) -> None:
    client = browser("lead")
    assert client.get("/api/nowhere").json() == {"error": "Not Found"}
    answer = client.get("/nowhere<script>")
    assert answer.status_code == 404 and "<h1>Not found</h1>" in answer.text
    stranger = browser(None)
    answer = stranger.get("/api/docs")
    assert answer.json() == {"error": "sign in first"}
    wrong = client.post("/api/v1/me/password", json={"old": "hunter2-secret", "nw": "x"})
    assert wrong.status_code == 422 and "hunter2" not in wrong.text
    assert "body.new: Field required" in wrong.json()["error"]


def test_what_breaks_is_not_told(app: FastAPI, services: Services, browser: Any) -> None:
    session = browser("lead").cookies[COOKIE]
    client = TestClient(app, raise_server_exceptions=False, cookies={COOKIE: session})
    object.__setattr__(services, "accounts", None)
    answer = client.get("/api/v1/me")
    assert answer.status_code == 500
    assert answer.json() == {"error": "something went wrong here; nothing of this was stored"}


def test_secrets_are_in_no_log_and_no_answer(
    browser: Any, services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    """Every secret there is, held against all that is logged and all that can be listed."""
    caplog.set_level(logging.DEBUG)
    lead = browser("lead")
    made = lead.post("/api/v1/accounts", json={"name": "new", "role": "annotator"}).json()
    link = made["link"].removeprefix(ORIGIN)
    stranger = browser(None)
    assert "minlength" in stranger.get(link).text
    assert stranger.post(link, data={"password": "short"}).status_code == 400
    assert stranger.post(link, data={"password": PASSWORD}).status_code == 303
    assert browser(None).post(link, data={"password": PASSWORD}).status_code == 404
    token = lead.post("/api/v1/tokens", json={"name": "t", "scopes": ["read"]}).json()["secret"]
    hook = {"url": "http://127.0.0.1:9/x", "events": ["tasks.added"]}
    signing = lead.post("/api/v1/projects/chat/webhooks", json=hook).json()["secret"]
    session = stranger.cookies[COOKIE]
    hashed = services.accounts.password_hash("new")
    assert hashed is not None
    secrets = [PASSWORD, token, signing, session, link.removeprefix("/join/"), hashed]
    lists = ["accounts", "tokens", "me", "projects/chat/webhooks", "projects", "projects/chat"]
    told = "".join(lead.get(f"/api/v1/{name}").text for name in lists)
    logged = "\n".join(f"{r.getMessage()} {r.args}" for r in caplog.records if r.name != "httpx2")
    for secret in secrets:
        assert secret not in told and secret not in logged


def test_a_database_error_shows_no_values(database: Database) -> None:
    from sqlalchemy import text
    from sqlalchemy.exc import SQLAlchemyError

    with pytest.raises(SQLAlchemyError) as error, database.reading() as connection:
        connection.execute(text("select :secret from nothing"), {"secret": "hunter2"})
    assert "hunter2" not in str(error.value)
