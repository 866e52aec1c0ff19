"""How an episode's conversation begins: instruction, exemplars from a file, the question."""

import json
from collections.abc import Sequence

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


def load_exemplars(name: str) -> list[Exemplar]:
    """Those of an environment that ship with the package."""
    path = ASSETS / "environments" / f"{name}.json"
    return [
        as_messages(turns, role="user", where=f"{path}, exemplar {number}")
        for number, turns in enumerate(json.loads(path.read_text(encoding="utf-8")), start=1)
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
