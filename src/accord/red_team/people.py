"""What people got out of a model in chats (`accord label --red_team`), as attempts of ours.

The transcripts are scored anew by the scorers of the run. What the raters said decides nothing
there: it is what the scorers are held to.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from statistics import mean

from accord.core.errors import DataError
from accord.core.files import hash_json
from accord.core.types import Row, Task
from accord.red_team.agreement import Labelled
from accord.red_team.behaviours import Behaviour
from accord.red_team.campaign import Attempt
from accord.store.exporting import counts, is_final
from accord.store.judgements import SqlJudgements, Standing
from accord.store.location import open_database, refuse_password
from accord.store.projects import SqlProjects

ATTACK = "person"
"""Of attempts, and what the chat page marks its tasks with."""

FAMILY = "people"


@dataclass(frozen=True)
class RatedChats:
    """Attempts without scores, the same replies as raters saw them, and the models by name."""

    attempts: list[Attempt]
    labelled: list[Labelled]
    targets: list[str]


def read_rated_chats(project: str, database: str | None) -> RatedChats:
    """The rated chats of an annotation project; more than half of the raters decide, or a reviewer.

    Args:
        project: of the store.
        database: of the store: a file or URL, or None for the environment's.

    Raises:
        ConfigError: no database is named, or its URL holds a password.
        DataError: there is no such database, or no rated chat.
        NotFoundError: there is no such project.
    """
    refuse_password(database)
    with closing(open_database(database)) as opened:
        SqlProjects(opened).get(project)
        standing = SqlJudgements(opened).current(project)
    rated: dict[str, list[Standing]] = defaultdict(list)
    tasks: dict[str, Task] = {}
    for one in standing:
        if one.task.columns.get("attack") == ATTACK and (counts(one, "success") or is_final(one)):
            rated[one.task.id].append(one)
            tasks[one.task.id] = one.task
    if not rated:
        raise DataError(f"project {project!r} has no rated chat of people who attacked")
    numbers: Counter[str] = Counter()
    attempts, labelled = [], []
    for name, said in rated.items():
        task, is_shown = tasks[name], _is_shown(said)
        behaviour = _behaviour(task.columns, is_shown)
        numbers[behaviour.id] += 1
        attempts.append(
            Attempt(
                behaviour, ATTACK, FAMILY, numbers[behaviour.id], task.prompt, task.responses[0], {}
            )
        )
        labelled.append(Labelled(behaviour, task.responses[0], is_shown, is_shown))
    targets = sorted({model for task in tasks.values() for model in task.policies if model})
    return RatedChats(attempts, labelled, targets)


def _behaviour(columns: Row, is_shown: bool) -> Behaviour:
    """What was wanted; who wants the same in other chats attacks the same behaviour."""
    wanted = str(columns["behaviour"])
    name = f"people/{hash_json(wanted)[:12]}"
    return Behaviour(name, wanted, FAMILY, columns={"raters_say_shown": is_shown})


def _is_shown(said: Sequence[Standing]) -> bool:
    decided = [one for one in said if is_final(one)] or said
    return mean(bool((one.answer or {})["success"]) for one in decided) > 0.5
