"""Every error a user can meet; each says what, where, what was expected and what to do."""

import difflib


class AccordError(Exception):
    """Base of all errors that are shown as one line, without a traceback."""


class ConfigError(AccordError):
    """A config or a flag is wrong; nothing was run."""


class DataError(AccordError):
    """A data file or a row in it cannot be used; the message names the file and the row."""


class TooLongError(DataError):
    """A text does not fit into a model's context."""


class NotFoundError(DataError):
    """What was asked for is not there."""


class ModelError(AccordError):
    """A model directory cannot be used for what was asked of it."""


class CheckpointError(AccordError):
    """A saved state is missing parts or was cut short."""


class StorageError(AccordError):
    """The disk refused a write; whatever was saved before is untouched."""


class TrainingError(AccordError):
    """Training cannot go on (non-finite losses in a row, for example)."""


class HubError(AccordError):
    """The hub refused an upload or could not be reached; the run on disk is as it was."""


class ConflictError(AccordError):
    """What was handed in contradicts what is there; what is there stays."""


class SandboxError(AccordError):
    """Untrusted code cannot be shut in as well as was asked for; none was run."""


class Interrupted(AccordError):
    """Ctrl-C: a checkpoint was written, and the same command resumes from it."""


class Waiting(AccordError):
    """People have to do something first; nothing is wrong, and the same command goes on then."""


def describe_choice(name: str, known: list[str]) -> str:
    """A name that is not among `known`, with the nearest that is: for error messages."""
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    tail = [k for k in known if k.split("_")[-1] == name or _initials(k) == name]
    guesses = tail or nearest
    hint = f"did you mean {guesses[0]!r}?" if guesses else f"known: {', '.join(sorted(known))}"
    return f"{name!r}; {hint}"


def _initials(name: str) -> str:
    return "".join(word[0] for word in name.split("_"))
