"""What makes a reward model a process reward model: two words in a file beside its weights."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from accord.core import files
from accord.core.errors import ModelError

_FILE = "process_reward.json"


class ProcessFormat(BaseModel):
    """How a process reward model reads a response and sums it up."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step_separator: str
    step_aggregation: str

    def save(self, model_path: Path) -> None:
        """Write it into a model's directory."""
        files.write_json(model_path / _FILE, self.model_dump())

    @classmethod
    def load(cls, model_path: Path) -> "ProcessFormat | None":
        """What lies in a model's directory; None for a model of whole responses.

        Raises:
            ModelError: the file cannot be read.
        """
        path = model_path / _FILE
        if not path.is_file():
            return None
        try:
            return cls.model_validate_json(path.read_text("utf-8"))
        except (ValidationError, UnicodeDecodeError) as error:
            raise ModelError(f"{path}: cannot be read ({error}); copy the model again") from error
