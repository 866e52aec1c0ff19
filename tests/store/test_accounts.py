"""Accounts and what opens their doors, on both databases."""

import pytest
from sqlalchemy import text

from accord.core.errors import ConflictError, DataError, NotFoundError
from accord.core.types import Message, Submission, Task
from accord.store.access import INVITATION_S, SESSION_S, Admitted, SqlAccess
from accord.store.accounts import SqlAccounts
from accord.store.database import Database
from accord.store.queue import SqlTaskQueue


class Clock:
    at = 1_000_000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def accounts(database: Database, clock: Clock) -> SqlAccounts:
    found = SqlAccounts(database, now=clock)
    found.create("lea", "lead")
    found.create("ann", "annotator")
    return found


@pytest.fixture
def access(database: Database, clock: Clock) -> SqlAccess:
    return SqlAccess(database, now=clock)


def test_an_account_is_an_annotator(accounts: SqlAccounts) -> None:
    robot = accounts.create("robot", "machine")
    assert (robot.kind, robot.role, robot.is_active, robot.has_password) == (
        "model", "machine", True, False,
    )  # fmt: skip
    assert [account.name for account in accounts.all()] == ["ann", "lea", "robot"]
    SqlTaskQueue(accounts.database).register("old hand")
    assert accounts.create("old hand", "reviewer").role == "reviewer"
    with pytest.raises(ConflictError, match="'ann' has an account already"):
        accounts.create("ann", "annotator")
    with pytest.raises(ConflictError, match="'robot' is a model, not a person"):
        accounts.create("robot", "annotator")
    with pytest.raises(NotFoundError, match="no account 'nobody'"):
        accounts.get("nobody")


@pytest.mark.parametrize(
    "name", ["", " ann", "ann\n", "a" * 201, "a\0b", "\u202eann", "a\u200bnn", "\ud800"]
)
def test_names_that_are_none(accounts: SqlAccounts, name: str) -> None:
    with pytest.raises(DataError):
        accounts.create(name, "annotator")


def test_a_role_that_is_none(accounts: SqlAccounts) -> None:
    with pytest.raises(DataError, match="role must be one of lead, reviewer"):
        accounts.create("eve", "root")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="role must be one of"):
        accounts.change("ann", role="root")  # type: ignore[arg-type]


def test_the_last_lead_stays(accounts: SqlAccounts) -> None:
    for change in ({"is_active": False}, {"role": "annotator"}):
        with pytest.raises(ConflictError, match="'lea' is the only lead"):
            accounts.change("lea", **change)  # type: ignore[arg-type]
    accounts.change("ann", role="lead")
    assert not accounts.change("lea", is_active=False).is_active
    with pytest.raises(ConflictError, match="'ann' is the only lead"):
        accounts.change("ann", is_active=False)


def test_whoever_is_switched_off_is_out(accounts: SqlAccounts, access: SqlAccess) -> None:
    session = access.start_session("ann")
    _, token = access.issue_token("ann", "laptop", ["read"])
    link = access.invite("ann", sets_password=True)
    accounts.set_password_hash("ann", "hash")
    session = access.start_session("ann")
    accounts.change("ann", is_active=False)
    assert access.by_session(session) is None
    assert access.by_token(token) is None
    assert accounts.password_hash("ann") is None
    with pytest.raises(NotFoundError, match="this link was used"):
        access.use_invitation(link)
    with pytest.raises(NotFoundError, match="no active account 'ann'"):
        access.start_session("ann")
    accounts.change("ann", is_active=True)
    assert accounts.password_hash("ann") == "hash"
    assert access.by_session(session) is None
    assert access.by_token(token) is None


def test_sessions_end(accounts: SqlAccounts, access: SqlAccess, clock: Clock) -> None:
    session = access.start_session("ann")
    assert access.by_session(session) == Admitted("ann", "annotator")
    assert access.by_session(session + "x") is None
    clock.at += SESSION_S - 1
    assert access.by_session(session) is not None
    clock.at += 1
    assert access.by_session(session) is None
    session, other = access.start_session("ann"), access.start_session("ann")
    access.end_session(session)
    assert access.by_session(session) is None
    assert access.by_session(other) is not None
    accounts.set_password_hash("ann", "new")
    assert access.by_session(other) is None


def test_a_link_works_once(accounts: SqlAccounts, access: SqlAccess, clock: Clock) -> None:
    link = access.invite("ann", sets_password=True)
    assert access.invitation(link).name == "ann"
    assert access.use_invitation(link).sets_password
    for use in (access.invitation, access.use_invitation):
        with pytest.raises(NotFoundError, match="ask for a new one"):
            use(link)
    late = access.invite("ann", sets_password=False)
    clock.at += INVITATION_S
    with pytest.raises(NotFoundError, match="ask for a new one"):
        access.use_invitation(late)


def test_tokens_expire_and_are_revoked(
    accounts: SqlAccounts, access: SqlAccess, clock: Clock
) -> None:
    _, secret = access.issue_token("ann", "short", ["read", "annotate"], expires_in_s=60)
    long, other = access.issue_token("ann", "long", ["read"])
    assert access.by_token(secret) == Admitted("ann", "annotator", frozenset({"read", "annotate"}))
    accounts.change("ann", role="reviewer")
    assert access.by_token(other) == Admitted("ann", "reviewer", frozenset({"read"}))
    clock.at += 60
    assert access.by_token(secret) is None
    with pytest.raises(NotFoundError, match=f"no token {long.id}"):
        access.revoke_token(long.id, account="lea")
    access.revoke_token(long.id, account="ann")
    assert access.by_token(other) is None
    revoked_at = access.tokens("ann")[1].revoked_at
    clock.at += 1
    access.revoke_token(long.id)
    assert access.tokens("ann")[1].revoked_at == revoked_at
    assert [token.name for token in access.tokens()] == ["short", "long"]
    for scopes in ([], ["root"]):
        with pytest.raises(DataError, match="scopes: expected some of read, annotate, manage"):
            access.issue_token("ann", "bad", scopes)
    with pytest.raises(DataError, match="must be positive"):
        access.issue_token("ann", "bad", ["read"], expires_in_s=-1)


def test_the_database_holds_no_secret(accounts: SqlAccounts, access: SqlAccess) -> None:
    secrets = [
        access.start_session("ann"),
        access.invite("ann", sets_password=False),
        access.issue_token("ann", "t", ["read"])[1],
    ]
    with access.database.reading() as connection:
        for table in ("sessions", "invitations", "tokens", "accounts"):
            kept = str(connection.execute(text(f"select * from {table}")).all())
            assert not [secret for secret in secrets if secret in kept or secret[7:] in kept]


def test_groups_are_kept_by_consent_only(accounts: SqlAccounts) -> None:
    assert accounts.get("ann").groups is None
    assert accounts.declare("ann", {"language": "Finnish"}).groups == {"language": "Finnish"}
    assert accounts.declare("ann", None).groups is None
    with accounts.database.reading() as connection:
        left = connection.execute(text("select groups, consented_at from accounts")).all()
    assert {tuple(row) for row in left} == {(None, None)}


def test_no_task_of_a_category_opted_out_of(accounts: SqlAccounts) -> None:
    queue = SqlTaskQueue(accounts.database)
    prompt = (Message(role="user", content="q"),)
    for name, columns in (("1", {"category": "violence"}), ("2", {}), ("3", {"category": "x"})):
        queue.add([Task(name, "p", "pairwise", prompt, ("a", "b"), columns=columns, overlap=2)])
    assert accounts.opt_out("ann", ["violence", "other"]).opted_out == ("other", "violence")
    seen = []
    while lease := queue.lease("ann"):
        seen.append(lease.task.id)
        queue.submit(lease, Submission(lease.task.id, {"verdict": "a"}))
    assert seen == ["2", "3"]
    accounts.opt_out("ann", [])
    found = queue.lease("ann")
    assert found is not None and found.task.id == "1"
