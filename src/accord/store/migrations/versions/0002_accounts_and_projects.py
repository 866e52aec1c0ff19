"""Accounts with sessions, invitations and tokens; projects; slots in the order of their turn."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_HASH = sa.String(64)


def upgrade() -> None:
    """What the annotation app adds."""
    _slots_in_order()
    _accounts()
    _doors()
    _projects()
    _projects_of_tasks()
    op.create_table(
        "server_keys",
        sa.Column("name", sa.String(50), primary_key=True),
        sa.Column("value", _HASH, nullable=False),
    )


def _slots_in_order() -> None:
    """Slots with copies of what orders them, and the indexes along which the next is found."""
    copies: dict[str, sa.types.TypeEngine[Any]] = {
        "project": sa.String(200),
        "rank": sa.Float(),
        "created_at": sa.Float(),
    }
    for name, kind in copies.items():
        op.add_column("slots", sa.Column(name, kind))
        source = "-priority" if name == "rank" else name
        op.execute(
            f"update slots set {name} = (select {source} from tasks where tasks.id = slots.task_id)"
        )
    op.drop_index("ix_slots_open", "slots")
    with op.batch_alter_table("slots") as batch:
        for name, kind in copies.items():
            batch.alter_column(name, existing_type=kind, nullable=False)
        batch.drop_constraint("uq_slots_judgement_id", type_="unique")
    _index("ix_slots_next", ["project", "rank", "created_at", "task_id", "number"], is_open=True)
    _index("ix_slots_held", ["annotator_id", "project"], is_open=True)
    _index("ix_slots_filled", ["judgement_id"], is_open=False, unique=True)
    op.drop_index("ix_judgements_annotator_id", "judgements")
    op.create_index("ix_judgements_whose", "judgements", ["annotator_id", "task_id"])


def _index(name: str, columns: list[str], *, is_open: bool, unique: bool = False) -> None:
    """An index over the open slots, or over the filled ones."""
    where = sa.text(f"judgement_id is {'' if is_open else 'not '}null")
    op.create_index(
        name, "slots", columns, unique=unique, sqlite_where=where, postgresql_where=where
    )


def _accounts() -> None:
    op.create_table(
        "accounts",
        sa.Column("annotator_id", _NUMBER, sa.ForeignKey("annotators.id"), primary_key=True),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("password_hash", sa.String(200)),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("groups", sa.JSON(none_as_null=True)),
        sa.Column("consented_at", sa.Float()),
        sa.Column("opted_out", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.CheckConstraint("role in ('lead', 'reviewer', 'annotator', 'machine')", name="role"),
        sa.CheckConstraint("(groups is null) = (consented_at is null)", name="consent"),
    )


def _whose() -> "sa.Column[int]":
    return sa.Column(
        "annotator_id", _NUMBER, sa.ForeignKey("accounts.annotator_id"), nullable=False, index=True
    )


def _doors() -> None:
    op.create_table(
        "sessions",
        sa.Column("sha256", _HASH, primary_key=True),
        _whose(),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
    )
    op.create_table(
        "invitations",
        sa.Column("sha256", _HASH, primary_key=True),
        _whose(),
        sa.Column("sets_password", sa.Boolean(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.Column("used_at", sa.Float()),
    )
    op.create_table(
        "tokens",
        sa.Column("id", _NUMBER, primary_key=True),
        _whose(),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("sha256", _HASH, nullable=False, unique=True),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float()),
        sa.Column("revoked_at", sa.Float()),
    )


def _projects() -> None:
    op.create_table(
        "projects",
        sa.Column("name", sa.String(200), primary_key=True),
        sa.Column("title", sa.String(200), nullable=False),
        sa.Column("attributes", sa.JSON(), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
    )
    op.create_table(
        "guidelines",
        sa.Column("project", sa.String(200), sa.ForeignKey("projects.name"), primary_key=True),
        sa.Column("version", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
    )
    op.create_table(
        "webhooks",
        sa.Column("id", _NUMBER, primary_key=True),
        sa.Column(
            "project", sa.String(200), sa.ForeignKey("projects.name"), nullable=False, index=True
        ),
        sa.Column("url", sa.String(2000), nullable=False),
        sa.Column("secret", sa.String(100), nullable=False),
        sa.Column("events", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
    )


def _projects_of_tasks() -> None:
    """What tasks name as their project becomes one, with guidelines that say there were none."""
    connection = op.get_bind()
    projects, guidelines = sa.table("projects", *_PROJECT), sa.table("guidelines", *_GUIDELINES)
    found = sa.text("select project, min(created_at) as created_at from tasks group by project")
    for row in connection.execute(found).all():
        values = {"title": row.project, "attributes": ["helpful", "harmless", "honest"]}
        made = projects.insert().values(name=row.project, created_at=row.created_at, settings={})
        connection.execute(made.values(**values))
        text = "No guidelines were written for this project yet."
        first = {"project": row.project, "version": 1, "text": text, "created_at": row.created_at}
        connection.execute(guidelines.insert().values(**first))


_PROJECT: tuple["sa.ColumnClause[Any]", ...] = (
    sa.column("name", sa.String()),
    sa.column("title", sa.String()),
    sa.column("attributes", sa.JSON()),
    sa.column("settings", sa.JSON()),
    sa.column("created_at", sa.Float()),
)
_GUIDELINES: tuple["sa.ColumnClause[Any]", ...] = tuple(
    sa.column(name) for name in ("project", "version", "text", "created_at")
)
