"""Write the sample set: prompts, demonstrations and judgements by simulated annotators."""

from dataclasses import dataclass
from pathlib import Path

from accord.core.files import storage_errors
from accord.core.run_dir import RunDir
from accord.corpora.readers import read_rows
from accord.corpora.sample_set import write
from accord.stages.sample_set.config import Config

STATEMENT = (
    "The demonstrators and annotators of this sample set are simulated: programs with known error "
    "rates, not people."
)


@dataclass(frozen=True)
class Result:
    """The files, their rows, and what must be said of them."""

    prompts_train: Path
    prompts_validation: Path
    prompts_test: Path
    demonstrations_train: Path
    demonstrations_validation: Path
    judgements: Path
    rows: dict[str, int]
    statement: str


def run(config: Config, run_dir: RunDir) -> Result:
    """Generate and write; equal seeds give equal bytes."""
    with storage_errors(run_dir.path):
        written = write(run_dir.path, config.seed)
    paths = {name.replace("-", "_"): path for name, path in written.items()}
    rows = {name: len(read_rows(str(path))) for name, path in paths.items()}
    return Result(**paths, rows=rows, statement=STATEMENT)
