"""Where tasks are put up, and who is known: the lead's side of the store."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, and_, func, select, update

from accord.core.errors import ConflictError, DataError
from accord.core.types import Message, Task
from accord.store.answers import check_task
from accord.store.database import Database
from accord.store.hints import CRITIQUE
from accord.store.part import Part
from accord.store.schema import annotators, slots, tasks
from accord.store.webhooks import tell

_NOBODY = {"annotator_id": None, "judgement_id": None}


class SqlTaskBoard(Part):
    """`TaskBoard` over the database."""

    def register(self, name: str, *, kind: str = "person") -> None:
        """Make an annotator known; one who is known stays as he is.

        Raises:
            ConflictError: the name belongs to an annotator of another kind.
        """
        with self.database.writing() as connection:
            self.database.chain_alone(connection)  # or two at once would both make him
            row = connection.execute(
                select(annotators.c.kind).where(annotators.c.name == name)
            ).first()
            if row is None:
                connection.execute(
                    annotators.insert().values(name=name, kind=kind, created_at=self.now())
                )
            elif row.kind != kind:
                raise ConflictError(f"annotator {name!r} is a {row.kind}, not a {kind}")

    def add(self, new: Sequence[Task]) -> int:
        """Put tasks up, all or none.

        Raises:
            DataError: a task that nobody could answer.
            ConflictError: another task has the id.
        """
        for task in new:
            check_task(task)
        start = self.now()
        with self.database.writing() as connection:
            self.database.chain_alone(connection)
            added: Counter[str] = Counter()
            for place, task in enumerate(new):
                # Their order stands in the time, however coarse the clock is.
                added[task.project] += self._add(connection, task, start + place * 1e-6)
            for project, count in added.items():
                if count:
                    tell(connection, project, "tasks.added", {"added": count}, now=self.now())
            return added.total()

    def put_up(self, new: Sequence[Task]) -> int:
        """Put those up whose id is new; what is there stays, whatever it is asked for with now."""
        query = select(tasks.c.id).where(tasks.c.project.in_({task.project for task in new}))
        with self.database.reading() as connection:
            known = set(connection.execute(query).scalars())
        return self.add([task for task in new if task.id not in known])

    def ask_people(self, wanted: Sequence[Task]) -> None:
        """Put tasks up, and see to it that `overlap` people judge each, whoever else has.

        Places that models fill do not count: where too few are left, there are more.
        """
        self.put_up(wanted)
        with self.database.writing() as connection:
            self.database.chain_alone(connection)
            for task in wanted:
                self._widen(connection, task.id, task.overlap)

    def _widen(self, connection: Connection, task_id: str, people: int) -> None:
        """More places, until `people` of them are free or filled by no model."""
        filled = slots.outerjoin(annotators, annotators.c.id == slots.c.annotator_id)
        rows = connection.execute(
            select(slots, annotators.c.kind)
            .select_from(filled)
            .where(slots.c.task_id == task_id)
            .order_by(slots.c.number)
        ).all()
        for_people = sum(row.judgement_id is None or row.kind != "model" for row in rows)
        turn = {name: getattr(rows[-1], name) for name in ("project", "rank", "created_at")}
        made = [
            {"task_id": task_id, "number": rows[-1].number + 1 + n, **turn, **_NOBODY}
            for n in range(people - for_people)
        ]
        if made:
            connection.execute(slots.insert(), made)
            total = len(rows) + len(made)
            connection.execute(update(tasks).where(tasks.c.id == task_id).values(overlap=total))

    def _add(self, connection: Connection, task: Task, created_at: float) -> bool:
        known = connection.execute(select(tasks).where(tasks.c.id == task.id)).mappings().first()
        if known is not None:
            # A critique may have been given since.
            later = {
                name: known["columns"][name] for name in (CRITIQUE,) if name in known["columns"]
            }
            put = {**_values(task), "columns": {**later, **task.columns}}
            if any(known[name] != value for name, value in put.items()):
                raise ConflictError(f"task {task.id!r}: another task has this id")
            return False
        task_row, slot_rows = rows_of(task, created_at)
        connection.execute(tasks.insert(), [task_row])
        connection.execute(slots.insert(), slot_rows)
        return True

    def progress(self, project: str) -> Mapping[str, int]:
        """Counts of tasks, slots, and slots that are free, leased and done."""
        now = self.now()
        is_done = slots.c.judgement_id.is_not(None)
        is_leased = and_(~is_done, slots.c.leased_until > now)
        with self.database.reading() as connection:
            row = connection.execute(
                select(
                    func.count(slots.c.id).label("slots"),
                    func.count(func.distinct(slots.c.task_id)).label("tasks"),
                    func.count(slots.c.id).filter(is_done).label("done"),
                    func.count(slots.c.id).filter(is_leased).label("leased"),
                )
                .join(tasks, tasks.c.id == slots.c.task_id)
                .where(tasks.c.project == project)
            ).one()
        counts = {name: int(value) for name, value in row._mapping.items()}
        return {**counts, "free": counts["slots"] - counts["done"] - counts["leased"]}


def unfilled_slots(database: Database, project: str, task_ids: Collection[str]) -> int:
    """Slots of those tasks that no judgement fills."""
    query = select(slots.c.task_id).where(
        slots.c.project == project, slots.c.judgement_id.is_(None)
    )
    with database.reading() as connection:
        return sum(name in task_ids for name in connection.execute(query).scalars())


def rows_of(task: Task, created_at: float) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A new task's row, and those of its slots, which nobody has filled."""
    turn = {"project": task.project, "rank": -task.priority, "created_at": created_at}
    numbered = [{"task_id": task.id, "number": n, **turn, **_NOBODY} for n in range(task.overlap)]
    return {**_values(task), "created_at": created_at}, numbered


def _values(task: Task) -> dict[str, Any]:
    return {
        "id": task.id,
        "project": task.project,
        "kind": task.kind,
        "prompt": [dict(message) for message in task.prompt],
        "responses": list(task.responses),
        "policies": list(task.policies or (None,) * len(task.responses)),
        "columns": dict(task.columns),
        "overlap": task.overlap,
        "priority": task.priority,
    }


def annotator_id(connection: Connection, name: str) -> int:
    """Whose number that is.

    Raises:
        DataError: nobody is known by that name.
    """
    found = connection.execute(select(annotators.c.id).where(annotators.c.name == name)).scalar()
    if found is None:
        raise DataError(f"nobody is known as annotator {name!r}; register the name first")
    return int(found)


def all_tasks(database: Database, project: str) -> list[Task]:
    """Every task of a project, in the order in which they were put up."""
    query = select(tasks).where(tasks.c.project == project).order_by(tasks.c.created_at, tasks.c.id)
    with database.reading() as connection:
        return [task_of(row) for row in connection.execute(query)]


def task_of(row: Any) -> Task:
    """A row of `tasks` as a Task."""
    return Task(
        id=row.id,
        project=row.project,
        kind=row.kind,
        prompt=tuple(Message(role=m["role"], content=m["content"]) for m in row.prompt),
        responses=tuple(row.responses),
        policies=tuple(row.policies),
        columns=row.columns,
        overlap=row.overlap,
        priority=row.priority,
    )
