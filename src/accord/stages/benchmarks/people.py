"""People as the judge of a benchmark: their answers are in the store, and read anew each time."""

from accord.judges.configured import Judge
from accord.judges.people_judge import PeopleGrader, PeopleJudge
from accord.stages.benchmarks.config import Config
from accord.store.location import open_database, refuse_password
from accord.store.projects import SqlProjects


def people_of(config: Config, project: str) -> Judge:
    """The people of a project.

    Raises:
        ConfigError: no store is named, or its URL holds a password.
        NotFoundError: the store has no such project.
    """
    refuse_password(config.database)
    database = open_database(config.database)
    SqlProjects(database).get(project)
    pairs = PeopleJudge(database, project, overlap=config.judge_overlap)
    grades = PeopleGrader(database, project, kind=config.people_grade, overlap=config.judge_overlap)
    return Judge(
        pairs.name,
        pairs,
        grades,
        None,
        None,
        lambda: {"pairs": pairs.asked(), "answers": grades.asked()},
        unfilled=lambda: pairs.unfilled() + grades.unfilled(),
        are_people=True,
        close=database.close,
    )
