"""Accounts with sessions, invitations and tokens; projects with guidelines and webhooks."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_HASH = sa.String(64)


def upgrade() -> None:
    """What the annotation app adds."""
    _accounts()
    _doors()
    _projects()
    op.create_table(
        "server_keys",
        sa.Column("name", sa.String(50), primary_key=True),
        sa.Column("value", _HASH, nullable=False),
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
