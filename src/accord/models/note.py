"""What stands beside a model's weights: a few words in a JSON file of its directory."""

from pathlib import Path
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from accord.core import files
from accord.core.errors import ModelError


class ModelNote(BaseModel):
    """Base of such files; `file` is the name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: ClassVar[str]

    def save(self, model_path: Path) -> None:
        """Write it into a model's directory."""
        files.write_json(model_path / self.file, self.model_dump())

    @classmethod
    def load(cls, model_path: Path) -> Self | None:
        """What lies in a model's directory; None for a model without such a file.

        Raises:
            ModelError: the file cannot be read.
        """
        path = model_path / cls.file
        if not path.is_file():
            return None
        try:
            return cls.model_validate_json(path.read_text("utf-8"))
        except (ValidationError, UnicodeDecodeError) as error:
            raise ModelError(f"{path}: cannot be read ({error}); copy the model again") from error
