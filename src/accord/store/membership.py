"""Who may work where: projects are open to every annotator, or to their members."""

from sqlalchemy import ColumnElement, Connection, delete, select
from sqlalchemy.exc import IntegrityError

from accord.core.errors import NotFoundError
from accord.core.types import Role
from accord.store.board import annotator_id
from accord.store.database import Database
from accord.store.people_schema import members
from accord.store.schema import accounts, annotators, projects

TRUSTED: tuple[Role, ...] = ("lead", "reviewer")
"""Roles that see every project, and of which no qualification is asked."""


class SqlMembership:
    """The members of one database's projects.

    A project that is hidden from somebody is to him as one that is not there.

    Args:
        database: where.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    def check(self, name: str, project: str) -> None:
        """Go on where somebody may see a project.

        Raises:
            NotFoundError: there is none of that name, or none that he may see.
        """
        with self.database.reading() as connection:
            _refuse_missing(connection, project)
            refuse_stranger(connection, annotator_id(connection, name), project)

    def hidden_from(self, name: str) -> set[str]:
        """Names of the projects that somebody may not see."""
        with self.database.reading() as connection:
            return set(closed_to(connection, annotator_id(connection, name)))

    def members(self, project: str) -> list[str]:
        """Who was let in, by name.

        Raises:
            NotFoundError: there is no such project.
        """
        query = (
            select(annotators.c.name)
            .join(members, members.c.annotator_id == annotators.c.id)
            .where(members.c.project == project)
            .order_by(annotators.c.name)
        )
        with self.database.reading() as connection:
            _refuse_missing(connection, project)
            return list(connection.execute(query).scalars())

    def add(self, project: str, name: str) -> None:
        """Let somebody in; a member stays one.

        Raises:
            NotFoundError: there is no such project, or no account of that name.
        """
        try:
            with self.database.writing() as connection:
                _refuse_missing(connection, project)
                values = {"project": project, "annotator_id": _account(connection, name)}
                is_known = (
                    members.c.project == project,
                    members.c.annotator_id == values["annotator_id"],
                )
                if connection.execute(select(members).where(*is_known)).first() is None:
                    connection.execute(members.insert().values(**values))
        except IntegrityError:  # another lead was faster
            return

    def remove(self, project: str, name: str) -> None:
        """Take somebody off the list. What he has judged stays; work in hand is no longer taken.

        Raises:
            NotFoundError: the project has no such member.
        """
        with self.database.writing() as connection:
            who = _account(connection, name)
            is_his = members.c.project == project, members.c.annotator_id == who
            if connection.execute(delete(members).where(*is_his)).rowcount == 0:
                raise NotFoundError(f"project {project!r} has no member {name!r}")


def closed_to(connection: Connection, who: int) -> list[str]:
    """Names of the projects that an annotator neither sees nor works in."""
    is_his = members.c.project == projects.c.name, members.c.annotator_id == who
    query = select(projects.c.name).where(
        ~projects.c.is_open,
        ~select(members.c.project).where(*is_his).exists(),
        ~is_trusted(who),
    )
    return list(connection.execute(query).scalars())


def refuse_stranger(connection: Connection, who: int, project: str) -> None:
    """Go on where an annotator may work in a project.

    Raises:
        NotFoundError: he may not, and so it says what it would say were there no such project.
    """
    if project in closed_to(connection, who):
        raise NotFoundError(_missing(project))


def is_trusted(who: int) -> ColumnElement[bool]:
    """Whether an annotator's role opens every project."""
    is_his = accounts.c.annotator_id == who, accounts.c.role.in_(TRUSTED)
    return select(accounts.c.annotator_id).where(*is_his).exists()


def _refuse_missing(connection: Connection, project: str) -> None:
    if (
        connection.execute(select(projects.c.name).where(projects.c.name == project)).first()
        is None
    ):
        raise NotFoundError(_missing(project))


def _missing(project: str) -> str:
    return f"there is no project {project!r}"


def _account(connection: Connection, name: str) -> int:
    query = (
        select(accounts.c.annotator_id)
        .join(annotators, annotators.c.id == accounts.c.annotator_id)
        .where(annotators.c.name == name)
    )
    found = connection.execute(query).scalar()
    if found is None:
        raise NotFoundError(f"there is no account {name!r}")
    return int(found)
