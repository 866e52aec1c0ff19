"""Tables of who may work where: members of projects, and qualification rounds."""

from sqlalchemy import (
    JSON,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from accord.store.metadata import NUMBER, metadata

members = Table(
    "members",
    metadata,
    Column("project", ForeignKey("projects.name"), primary_key=True),
    Column("annotator_id", ForeignKey("accounts.annotator_id"), primary_key=True),
)

qualifications = Table(
    "qualifications",
    metadata,
    Column("project", ForeignKey("projects.name"), primary_key=True),
    Column("is_required", Boolean, nullable=False),
    Column("pass_share", Float, nullable=False),
    # Attempts under an earlier version of the guidelines count no more.
    Column("guideline_version", Integer, nullable=False),
    CheckConstraint("pass_share > 0 and pass_share <= 1", name="pass_share"),
)

# Questions are no tasks: so no export, statistic or progress of the project can meet them.
questions = Table(
    "questions",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("project", ForeignKey("projects.name"), nullable=False, index=True),
    Column("kind", String(20), nullable=False),
    Column("prompt", JSON, nullable=False),
    Column("responses", JSON, nullable=False),
    Column("columns", JSON, nullable=False),
    Column("expected", JSON, nullable=False),
    Column("reason", Text, nullable=False),
    # In the round; NULL is asked no more, and kept for the answers that were given.
    Column("position", Integer),
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", NUMBER, primary_key=True),
    Column("project", ForeignKey("projects.name"), nullable=False),
    Column("annotator_id", ForeignKey("annotators.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("state", String(20), nullable=False),
    Column("guideline_version", Integer, nullable=False),
    # Of the questions that were asked when somebody last answered one.
    Column("answered", Integer, nullable=False),
    Column("hits", Integer, nullable=False),
    Column("decided_by", ForeignKey("annotators.id")),
    Column("created_at", Float, nullable=False),
    UniqueConstraint("project", "annotator_id", "number"),
    CheckConstraint("state in ('under_way', 'passed', 'failed')", name="state"),
)

attempt_answers = Table(
    "attempt_answers",
    metadata,
    Column("attempt_id", ForeignKey("attempts.id"), primary_key=True),
    Column("question_id", ForeignKey("questions.id"), primary_key=True),
    Column("said", JSON(none_as_null=True)),  # NULL was erased on request
    Column("is_right", Boolean, nullable=False),
    Column("created_at", Float, nullable=False),
)
