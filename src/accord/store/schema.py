"""Tables of the store; Alembic's migrations lead to them, and a test holds the two equal."""

from sqlalchemy import (
    JSON,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    true,
)

# The names after `as` are this module's too: whoever knows it knows all tables.
from accord.store import people_schema as people_schema
from accord.store.metadata import NUMBER as _NUMBER
from accord.store.metadata import metadata as metadata

annotators = Table(
    "annotators",
    metadata,
    Column("id", _NUMBER, primary_key=True),
    Column("name", String(200), nullable=False, unique=True),
    Column("kind", String(20), nullable=False),
    Column("created_at", Float, nullable=False),
    CheckConstraint("kind in ('person', 'model', 'simulated')", name="kind"),
)

tasks = Table(
    "tasks",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("project", String(200), nullable=False, index=True),
    Column("kind", String(20), nullable=False),
    Column("prompt", JSON, nullable=False),
    Column("responses", JSON, nullable=False),
    Column("policies", JSON, nullable=False),
    Column("columns", JSON, nullable=False),
    Column("overlap", Integer, nullable=False),
    Column("priority", Float, nullable=False, default=0.0),
    Column("created_at", Float, nullable=False),
    CheckConstraint("overlap >= 1", name="overlap"),
)

slots = Table(
    "slots",
    metadata,
    Column("id", _NUMBER, primary_key=True),
    Column("task_id", ForeignKey("tasks.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("annotator_id", ForeignKey("annotators.id")),
    Column("lease", String(32), unique=True),
    Column("leased_until", Float),
    Column("judgement_id", String(64)),
    # Copies of the task's project, -priority and created_at: the next slot is then found by walking
    # along one index, however many tasks wait.
    Column("project", String(200), nullable=False),
    Column("rank", Float, nullable=False),
    Column("created_at", Float, nullable=False),
    UniqueConstraint("task_id", "number"),
    # NULLs differ: one annotator has at most one slot of a task, and any number is free.
    UniqueConstraint("task_id", "annotator_id"),
)
_is_open = slots.c.judgement_id.is_(None)
_is_filled = slots.c.judgement_id.is_not(None)
Index(
    "ix_slots_next",
    slots.c.project,
    slots.c.rank,
    slots.c.created_at,
    slots.c.task_id,
    slots.c.number,
    sqlite_where=_is_open,
    postgresql_where=_is_open,
)
Index(
    "ix_slots_held",
    slots.c.annotator_id,
    slots.c.project,
    sqlite_where=_is_open,
    postgresql_where=_is_open,
)
# Of the filled ones only: where NULLs stand in a unique index, SQLite takes them for one row.
Index(
    "ix_slots_filled",
    slots.c.judgement_id,
    unique=True,
    sqlite_where=_is_filled,
    postgresql_where=_is_filled,
)

judgements = Table(
    "judgements",
    metadata,
    Column("sequence", _NUMBER, primary_key=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("task_id", ForeignKey("tasks.id"), nullable=False, index=True),
    Column("annotator_id", ForeignKey("annotators.id"), nullable=False),
    Column("action", String(20), nullable=False),
    Column("supersedes", String(64), ForeignKey("judgements.id"), unique=True),
    Column("answer", JSON(none_as_null=True)),
    Column("answer_sha256", String(64), nullable=False),
    Column("body_sha256", String(64), nullable=False),
    Column("guideline_version", Integer),
    Column("display_order", JSON, nullable=False),
    Column("display_seed", _NUMBER, nullable=False),
    Column("time_on_task_s", Float),
    Column("is_surplus", Boolean, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("previous_sha256", String(64), nullable=False),
    Column("sha256", String(64), nullable=False, unique=True),
    Column("erased_at", Float),
    CheckConstraint(
        "action in ('judge', 'skip', 'flag', 'unsure', 'undo')",
        name="action",
    ),
)

Index("ix_judgements_whose", judgements.c.annotator_id, judgements.c.task_id)

exports = Table(
    "exports",
    metadata,
    Column("id", _NUMBER, primary_key=True),
    Column("sha256", String(64), nullable=False, index=True),
    Column("query", JSON, nullable=False),
    Column("rows", Integer, nullable=False),
    Column("created_at", Float, nullable=False),
)

exported_judgements = Table(
    "exported_judgements",
    metadata,
    Column("export_id", ForeignKey("exports.id"), primary_key=True),
    Column("judgement_id", String(64), ForeignKey("judgements.id"), primary_key=True, index=True),
)

accounts = Table(
    "accounts",
    metadata,
    Column("annotator_id", ForeignKey("annotators.id"), primary_key=True),
    Column("role", String(20), nullable=False),
    Column("password_hash", String(200)),
    Column("is_active", Boolean, nullable=False),
    # What somebody said of himself, and when he agreed that it is kept; both or neither.
    Column("groups", JSON(none_as_null=True)),
    Column("consented_at", Float),
    Column("opted_out", JSON, nullable=False),
    Column("created_at", Float, nullable=False),
    CheckConstraint("role in ('lead', 'reviewer', 'annotator', 'machine')", name="role"),
    CheckConstraint("(groups is null) = (consented_at is null)", name="consent"),
)

# Of everything that opens a door only the hash is here.
sessions = Table(
    "sessions",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("annotator_id", ForeignKey("accounts.annotator_id"), nullable=False, index=True),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
)

invitations = Table(
    "invitations",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("annotator_id", ForeignKey("accounts.annotator_id"), nullable=False, index=True),
    Column("sets_password", Boolean, nullable=False),
    Column("expires_at", Float, nullable=False),
    Column("used_at", Float),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", _NUMBER, primary_key=True),
    Column("annotator_id", ForeignKey("accounts.annotator_id"), nullable=False, index=True),
    Column("name", String(200), nullable=False),
    Column("sha256", String(64), nullable=False, unique=True),
    Column("scopes", JSON, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float),
    Column("revoked_at", Float),
)

projects = Table(
    "projects",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("title", String(200), nullable=False),
    Column("attributes", JSON, nullable=False),
    Column("settings", JSON, nullable=False),
    # To every annotator; else to its members.
    Column("is_open", Boolean, nullable=False, server_default=true()),
    Column("created_at", Float, nullable=False),
)

guidelines = Table(
    "guidelines",
    metadata,
    Column("project", ForeignKey("projects.name"), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("text", Text, nullable=False),
    Column("created_at", Float, nullable=False),
)

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", _NUMBER, primary_key=True),
    Column("project", ForeignKey("projects.name"), nullable=False, index=True),
    Column("url", String(2000), nullable=False),
    # Signing needs the secret itself; nothing but the signing reads it.
    Column("secret", String(100), nullable=False),
    Column("events", JSON, nullable=False),
    Column("created_at", Float, nullable=False),
    # How far it has been told, and how the last tries went.
    Column("told", _NUMBER, nullable=False, server_default="0"),
    Column("is_on", Boolean, nullable=False, server_default=true()),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("failing_since", Float),
    Column("next_try_at", Float, nullable=False, server_default="0"),
    Column("last_error", Text),
)

# What webhooks are still to be told of; `id` is their order.
events = Table(
    "events",
    metadata,
    Column("id", _NUMBER, primary_key=True, autoincrement=False),
    Column("key", String(32), nullable=False, unique=True),
    Column("project", ForeignKey("projects.name"), nullable=False),
    Column("event", String(30), nullable=False),
    Column("data", JSON, nullable=False),
    Column("created_at", Float, nullable=False),
)
Index("ix_events_of", events.c.project, events.c.id)

server_keys = Table(
    "server_keys",
    metadata,
    Column("name", String(50), primary_key=True),
    Column("value", String(64), nullable=False),
)
