"""How an episode's conversation begins: instruction, exemplars from a file, the question."""

import json
from collections.abc import Sequence
from pathlib import Path

from accord.core.assets import ASSETS
from accord.core.errors import DataError
from accord.core.interfaces import Fits
from accord.core.types import Message, PromptRow
from accord.corpora.formats import as_messages

Exemplar = tuple[Message, ...]
"""A whole conversation that shows how it is done."""


def user(text: str) -> Message:
    """A message of the user, or of an environment, which speaks in that role."""
    return Message(role="user", content=text)


def question_of(row: PromptRow) -> str:
    """The last message.

    Raises:
        DataError: it is the assistant's.
    """
    last = row.prompt[-1]
    if last["role"] == "assistant":
        raise DataError("the conversation ends with the assistant's words; expected a question")
    return last["content"]


def load_exemplars(name: str, file: str | None = None) -> list[Exemplar]:
    """Those of a file, or those of an environment that ship with the package.

    Args:
        name: of the environment.
        file: JSON, a list of conversations, each a list of messages with role and content; as in
            an episode, what the environment says is the user's.

    Raises:
        DataError: the file cannot be read, or holds something else.
    """
    path = Path(file) if file else ASSETS / "environments" / f"{name}.json"
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(held, list):
        raise DataError(f"{path}: expected a list of conversations")
    return [
        as_messages(turns, role="user", where=f"{path}, exemplar {number}")
        for number, turns in enumerate(held, start=1)
    ]


def opening(
    instruction: str, exemplars: Sequence[Exemplar], row: PromptRow, fits: Fits
) -> list[Message]:
    """As many exemplars as fit, what was said before, and the question.

    The instruction stands before the first words, and not in a message of its own: not every chat
    template knows a system's role.
    """
    question_of(row)
    # Templates that know a system's role know it at the start alone.
    has_system = len(row.prompt) > 1 and row.prompt[0]["role"] == "system"
    head, rest = row.prompt[:has_system], row.prompt[has_system:]
    messages: list[Message] = []
    for count in range(len(exemplars), -1, -1):
        shown = [message for exemplar in exemplars[:count] for message in exemplar]
        messages = [*head, *shown, *rest]
        first = messages[0]
        text = f"{instruction}\n\n{first['content']}" if instruction else first["content"]
        messages[0] = Message(role=first["role"], content=text)
        if fits(messages):
            break
    return messages
