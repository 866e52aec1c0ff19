"""Projects: what tasks belong to, with guidelines by version."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select, update

from accord.core.assets import ASSETS
from accord.core.errors import ConflictError, DataError, NotFoundError
from accord.store.assistance import assistance_of
from accord.store.categories import check_unwarned
from accord.store.part import Part
from accord.store.schema import guidelines, projects
from accord.store.text import check_name, check_storable

ATTRIBUTES = ("helpful", "harmless", "honest")
MAX_GUIDELINES = 100_000


@dataclass(frozen=True)
class Project:
    """What annotators work on.

    `attributes` are what Likert tasks ask for; `settings` are the pages' (keys, cost of a
    judgement, and what else they know).
    """

    name: str
    title: str
    attributes: tuple[str, ...]
    settings: Mapping[str, Any]
    created_at: float
    is_open: bool = True
    """to every annotator; else to its members"""


@dataclass(frozen=True)
class Guidelines:
    """One version of a project's guidelines, in Markdown; versions count from 1."""

    project: str
    version: int
    text: str
    created_at: float


def default_guidelines() -> str:
    """The guidelines that ship, as one text: helpful, harmless, honest."""
    return "\n".join((ASSETS / "guidelines" / f"{n}.md").read_text("utf-8") for n in ATTRIBUTES)


class SqlProjects(Part):
    """The projects of one database."""

    def create(
        self,
        name: str,
        *,
        title: str = "",
        attributes: Sequence[str] = ATTRIBUTES,
        settings: Mapping[str, Any] | None = None,
        text: str | None = None,
        is_open: bool = True,
    ) -> Project:
        """A new project, with the first version of its guidelines (those that ship, unless told).

        Raises:
            DataError: the name cannot be one; it must fit into an address, too.
            ConflictError: there is one of that name.
        """
        check_name(name, "a project's name")
        if any(sign in name for sign in "/\\?#%") or name in (".", ".."):
            raise DataError(f"a project's name stands in addresses: no / \\ ? # %; got {name!r}")
        values = _checked({"title": title or name, "attributes": attributes, "settings": settings})
        values = {**values, "name": name, "is_open": is_open, "created_at": self.now()}
        text = default_guidelines() if text is None else text
        with self.database.writing() as connection:
            if _row(connection, name, lock=False, is_sqlite=self.database.is_sqlite) is not None:
                raise ConflictError(f"there is a project {name!r} already")
            connection.execute(projects.insert().values(**values))
            self._add_guidelines(connection, name, text)
        return self.get(name)

    def get(self, name: str) -> Project:
        """The project of that name.

        Raises:
            NotFoundError: there is none.
        """
        with self.database.reading() as connection:
            row = _row(connection, name, lock=False, is_sqlite=self.database.is_sqlite)
        if row is None:
            raise NotFoundError(f"there is no project {name!r}")
        return _project(row)

    def all(self) -> list[Project]:
        """Every project, by name."""
        with self.database.reading() as connection:
            return [_project(r) for r in connection.execute(select(projects).order_by("name"))]

    def update(
        self,
        name: str,
        *,
        title: str | None = None,
        attributes: Sequence[str] | None = None,
        settings: Mapping[str, Any] | None = None,
        is_open: bool | None = None,
    ) -> Project:
        """Change what is given; settings are replaced as a whole.

        Raises:
            NotFoundError: there is no such project.
        """
        given = {"title": title, "attributes": attributes, "settings": settings, "is_open": is_open}
        values = _checked({key: value for key, value in given.items() if value is not None})
        self.get(name)
        if values:
            with self.database.writing() as connection:
                connection.execute(update(projects).where(projects.c.name == name).values(**values))
        return self.get(name)

    def add_guidelines(self, name: str, text: str) -> Guidelines:
        """The next version; earlier ones stay, for the judgements that were made under them.

        Raises:
            DataError: the text is empty or too long.
            NotFoundError: there is no such project.
        """
        with self.database.writing() as connection:
            if _row(connection, name, lock=True, is_sqlite=self.database.is_sqlite) is None:
                raise NotFoundError(f"there is no project {name!r}")
            version = self._add_guidelines(connection, name, text)
        return self.guidelines(name, version)

    def _add_guidelines(self, connection: Connection, name: str, text: str) -> int:
        check_storable(text, "guidelines")
        if not text.strip() or len(text) > MAX_GUIDELINES:
            raise DataError(f"guidelines: 1 to {MAX_GUIDELINES} characters, got {len(text)}")
        last = select(func.max(guidelines.c.version)).where(guidelines.c.project == name)
        version = (connection.execute(last).scalar() or 0) + 1
        values = {"version": version, "text": text, "created_at": self.now()}
        connection.execute(guidelines.insert().values(project=name, **values))
        return version

    def guidelines(self, name: str, version: int | None = None) -> Guidelines:
        """One version; None is the newest.

        Raises:
            NotFoundError: there is no such project or version.
        """
        query = select(guidelines).where(guidelines.c.project == name)
        if version is not None:
            query = query.where(guidelines.c.version == version)
        with self.database.reading() as connection:
            row = connection.execute(query.order_by(guidelines.c.version.desc()).limit(1)).first()
        if row is None:
            which = "" if version is None else f" of version {version}"
            raise NotFoundError(f"there are no guidelines{which} of a project {name!r}")
        return Guidelines(**row._mapping)


def _row(connection: Connection, name: str, *, lock: bool, is_sqlite: bool) -> Any:
    query = select(projects).where(projects.c.name == name)
    return connection.execute(query.with_for_update() if lock and not is_sqlite else query).first()


def _project(row: Any) -> Project:
    values = {**row._mapping, "attributes": tuple(row.attributes)}
    return Project(**values)


def _checked(values: Mapping[str, Any]) -> dict[str, Any]:
    """Title, attributes and settings as they are stored."""
    checked = dict(values)
    if "title" in checked:
        check_name(checked["title"], "a project's title")
    if "attributes" in checked:
        names = list(checked["attributes"])
        if not names or len(set(names)) < len(names):
            raise DataError(f"attributes: expected some, each once; got {names}")
        checked["attributes"] = [check_name(name, "an attribute") for name in names]
    if "settings" in checked:
        checked["settings"] = dict(checked["settings"] or {})
        check_storable(checked["settings"], "settings")
        assistance_of(checked["settings"])  # refuses what is none
        check_unwarned(checked["settings"])
    return checked
