"""Events that webhooks are told of, and how far each webhook has been told."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Webhooks that are there are told of what happens from now on."""
    for column in (
        sa.Column("told", _NUMBER, nullable=False, server_default="0"),
        sa.Column("is_on", sa.Boolean(), nullable=False, server_default=sa.true()),
        sa.Column("failures", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("failing_since", sa.Float()),
        sa.Column("next_try_at", sa.Float(), nullable=False, server_default="0"),
        sa.Column("last_error", sa.Text()),
    ):
        op.add_column("webhooks", column)
    op.create_table(
        "events",
        sa.Column("id", _NUMBER, primary_key=True, autoincrement=False),
        sa.Column("key", sa.String(32), nullable=False, unique=True),
        sa.Column("project", sa.String(200), sa.ForeignKey("projects.name"), nullable=False),
        sa.Column("event", sa.String(30), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
    )
    op.create_index("ix_events_of", "events", ["project", "id"])
