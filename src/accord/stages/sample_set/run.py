"""Write the sample set: prompts, demonstrations and judgements by simulated annotators."""

from dataclasses import dataclass
from pathlib import Path

from accord.core.files import storage_errors, write_jsonl
from accord.core.run_dir import RunDir
from accord.corpora.readers import read_rows
from accord.corpora.sample_set import write
from accord.corpora.sample_set.editing import lessons
from accord.stages.sample_set.config import Config
from accord.stages.sample_set.lessons import lesson_rows

STATEMENT = (
    "The demonstrators and annotators of this sample set are simulated: programs with known error "
    "rates, not people."
)


@dataclass(frozen=True)
class Result:
    """The files, their rows, and what must be said of them.

    The last five are for a run by a constitution: the training prompts by what they ask for, the
    demonstrations of helpfulness, others that do whatever is asked, and lessons in editing and
    judging by rules.
    """

    prompts_train: Path
    prompts_validation: Path
    prompts_test: Path
    demonstrations_train: Path
    demonstrations_validation: Path
    judgements: Path
    prompts_train_harmful: Path
    prompts_train_helpful: Path
    demonstrations_helpful: Path
    demonstrations_helpful_only: Path
    lessons: Path
    rows: dict[str, int]
    statement: str


def run(config: Config, run_dir: RunDir) -> Result:
    """Generate and write; equal seeds give equal bytes."""
    with storage_errors(run_dir.path):
        written = write(run_dir.path, config.seed)
        written["lessons"] = run_dir.path / "lessons.jsonl"
        write_jsonl(written["lessons"], lesson_rows(lessons(config.seed)))
    paths = {name.replace("-", "_"): path for name, path in written.items()}
    rows = {name: len(read_rows(str(path))) for name, path in paths.items()}
    return Result(**paths, rows=rows, statement=STATEMENT)
