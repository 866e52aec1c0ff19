"""Projects that are their members' alone, and qualification rounds."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _project(*, is_key: bool = False, has_index: bool = False) -> "sa.Column[str]":
    return sa.Column(
        "project",
        sa.String(200),
        sa.ForeignKey("projects.name"),
        primary_key=is_key,
        nullable=False,
        index=has_index,
    )


def upgrade() -> None:
    """Projects stay open to everybody, and nobody has to qualify."""
    op.add_column(
        "projects", sa.Column("is_open", sa.Boolean(), nullable=False, server_default=sa.true())
    )
    op.create_table(
        "members",
        _project(is_key=True),
        sa.Column(
            "annotator_id", _NUMBER, sa.ForeignKey("accounts.annotator_id"), primary_key=True
        ),
    )
    op.create_table(
        "qualifications",
        _project(is_key=True),
        sa.Column("is_required", sa.Boolean(), nullable=False),
        sa.Column("pass_share", sa.Float(), nullable=False),
        sa.Column("guideline_version", sa.Integer(), nullable=False),
        sa.CheckConstraint("pass_share > 0 and pass_share <= 1", name="pass_share"),
    )
    op.create_table(
        "questions",
        sa.Column("id", sa.String(64), primary_key=True),
        _project(has_index=True),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("prompt", sa.JSON(), nullable=False),
        sa.Column("responses", sa.JSON(), nullable=False),
        sa.Column("columns", sa.JSON(), nullable=False),
        sa.Column("expected", sa.JSON(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer()),
    )
    _attempts()


def _attempts() -> None:
    op.create_table(
        "attempts",
        sa.Column("id", _NUMBER, primary_key=True),
        _project(),
        sa.Column("annotator_id", _NUMBER, sa.ForeignKey("annotators.id"), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("guideline_version", sa.Integer(), nullable=False),
        sa.Column("answered", sa.Integer(), nullable=False),
        sa.Column("hits", sa.Integer(), nullable=False),
        sa.Column("decided_by", _NUMBER, sa.ForeignKey("annotators.id")),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.UniqueConstraint("project", "annotator_id", "number"),
        sa.CheckConstraint("state in ('under_way', 'passed', 'failed')", name="state"),
    )
    op.create_table(
        "attempt_answers",
        sa.Column("attempt_id", _NUMBER, sa.ForeignKey("attempts.id"), primary_key=True),
        sa.Column("question_id", sa.String(64), sa.ForeignKey("questions.id"), primary_key=True),
        sa.Column("said", sa.JSON(none_as_null=True)),
        sa.Column("is_right", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
    )
