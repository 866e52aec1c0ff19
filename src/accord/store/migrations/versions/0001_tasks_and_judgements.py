"""Tasks with leased slots, judgements as a chained log, exports.

Names of constraints follow the convention of `schema.metadata`.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_HASH = sa.String(64)


def upgrade() -> None:
    """The first schema."""
    _annotators()
    _tasks_and_slots()
    _judgements()
    _exports()


def _annotators() -> None:
    op.create_table(
        "annotators",
        sa.Column("id", _NUMBER, primary_key=True),
        sa.Column("name", sa.String(200), nullable=False, unique=True),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.CheckConstraint("kind in ('person', 'model', 'simulated')", name="kind"),
    )


def _tasks_and_slots() -> None:
    op.create_table(
        "tasks",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("project", sa.String(200), nullable=False, index=True),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("prompt", sa.JSON(), nullable=False),
        sa.Column("responses", sa.JSON(), nullable=False),
        sa.Column("policies", sa.JSON(), nullable=False),
        sa.Column("columns", sa.JSON(), nullable=False),
        sa.Column("overlap", sa.Integer(), nullable=False),
        sa.Column("priority", sa.Float(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.CheckConstraint("overlap >= 1", name="overlap"),
    )
    op.create_table(
        "slots",
        sa.Column("id", _NUMBER, primary_key=True),
        sa.Column("task_id", sa.String(64), sa.ForeignKey("tasks.id"), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("annotator_id", _NUMBER, sa.ForeignKey("annotators.id")),
        sa.Column("lease", sa.String(32), unique=True),
        sa.Column("leased_until", sa.Float()),
        sa.Column("judgement_id", sa.String(64), unique=True),
        sa.UniqueConstraint("task_id", "number"),
        sa.UniqueConstraint("task_id", "annotator_id"),
    )
    op.create_index("ix_slots_open", "slots", ["judgement_id", "leased_until"])


def _judgements() -> None:
    op.create_table(
        "judgements",
        sa.Column("sequence", _NUMBER, primary_key=True),
        sa.Column("id", sa.String(64), nullable=False, unique=True),
        sa.Column("task_id", sa.String(64), sa.ForeignKey("tasks.id"), nullable=False, index=True),
        sa.Column(
            "annotator_id", _NUMBER, sa.ForeignKey("annotators.id"), nullable=False, index=True
        ),
        sa.Column("action", sa.String(20), nullable=False),
        sa.Column("supersedes", sa.String(64), sa.ForeignKey("judgements.id"), unique=True),
        sa.Column("answer", sa.JSON(none_as_null=True)),
        sa.Column("answer_sha256", _HASH, nullable=False),
        sa.Column("body_sha256", _HASH, nullable=False),
        sa.Column("guideline_version", sa.Integer()),
        sa.Column("display_order", sa.JSON(), nullable=False),
        sa.Column("display_seed", _NUMBER, nullable=False),
        sa.Column("time_on_task_s", sa.Float()),
        sa.Column("is_surplus", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("previous_sha256", _HASH, nullable=False),
        sa.Column("sha256", _HASH, nullable=False, unique=True),
        sa.Column("erased_at", sa.Float()),
        sa.CheckConstraint("action in ('judge', 'skip', 'flag', 'unsure', 'undo')", name="action"),
    )


def _exports() -> None:
    op.create_table(
        "exports",
        sa.Column("id", _NUMBER, primary_key=True),
        sa.Column("sha256", _HASH, nullable=False, index=True),
        sa.Column("query", sa.JSON(), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
    )
    op.create_table(
        "exported_judgements",
        sa.Column("export_id", _NUMBER, sa.ForeignKey("exports.id"), primary_key=True),
        sa.Column(
            "judgement_id",
            sa.String(64),
            sa.ForeignKey("judgements.id"),
            primary_key=True,
            index=True,
        ),
    )
