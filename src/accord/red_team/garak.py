"""garak's report (`*.report.jsonl`) as attempts of ours, to be scored by our scorers.

garak runs in an environment of its own against a served model; nothing of it is imported here. Its
detectors' verdicts are kept beside the attempts and decide nothing: published checks of them found
many errors. Format: lines with an `entry_type`, of which "attempt" with `status` 2 are complete;
a prompt is a text (older) or has `turns` of `role` and `content.text`; `outputs` are texts or have
`text`; `conversations` (newer) has for each output all turns up to it, of which `prompt` is the
first alone; `detector_results` has a list of scores, one an output, by detector.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accord.core.errors import DataError
from accord.core.types import Message
from accord.red_team.attack import Conversation
from accord.red_team.behaviours import Behaviour
from accord.red_team.campaign import Attempt

COMPLETE = 2


def read_garak(path: Path | str) -> list[Attempt]:
    """Attempts without scores, an output each; the family is `garak/MODULE` of the probe.

    Raises:
        DataError: no such file, a line that is no entry of garak's, or no complete attempt.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    found: list[Attempt] = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            entry = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{where}: not valid JSON: {error}") from None
        if not isinstance(entry, dict) or "entry_type" not in entry:
            raise DataError(f"{where}: no entry of a garak report: expected an entry_type")
        if entry["entry_type"] == "attempt" and entry.get("status") == COMPLETE:
            found += _attempts(entry, where)
    if not found:
        raise DataError(f"{path}: no complete attempt of garak's in it")
    return found


def _attempts(entry: Mapping[str, Any], where: str) -> list[Attempt]:
    try:
        probe = str(entry["probe_classname"])
        said = _conversations(entry)
        results = entry.get("detector_results") or {}
        goal = str(entry.get("goal") or "").strip()
        texts = [_text(output) for output in entry["outputs"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{where}: not a garak attempt ({type(error).__name__}: {error}); expected "
            "probe_classname, prompt and outputs"
        ) from None
    module = probe.removeprefix("probes.").split(".")[0]
    found = []
    for number, (conversation, text) in enumerate(zip(said, texts, strict=True), start=1):
        if text is None:  # the generator gave nothing
            continue
        verdicts = {
            name: scores[number - 1] for name, scores in results.items() if len(scores) >= number
        }
        behaviour = Behaviour(
            id=f"garak/{probe}/{entry.get('seq', 0)}",
            text=goal or conversation[-1]["content"],
            category=module,
            columns={"garak_detectors": verdicts},
        )
        attack = f"garak/{probe.removeprefix('probes.')}"
        found.append(Attempt(behaviour, attack, f"garak/{module}", number, conversation, text, {}))
    return found


def _conversations(entry: Mapping[str, Any]) -> list[Conversation]:
    """What stood before each output; an older report has the first prompt alone."""
    whole = [_conversation(one) for one in entry.get("conversations") or []]
    before = [turns for turns in map(_before_the_answer, whole) if turns]
    count = len(entry["outputs"])
    return before if len(before) == count else [_conversation(entry["prompt"])] * count


def _before_the_answer(turns: Conversation) -> Conversation:
    """An output is a conversation's last turn of the assistant; nothing where there is none."""
    places = [i for i, turn in enumerate(turns) if turn["role"] == "assistant"]
    return turns[: places[-1]] if places else ()


def _conversation(prompt: Any) -> Conversation:
    if isinstance(prompt, str):
        return (Message(role="user", content=prompt),)
    turns = [(str(turn["role"]), _text(turn["content"])) for turn in prompt["turns"]]
    return tuple(Message(role=role, content=text or "") for role, text in turns)


def _text(message: Any) -> str | None:
    """Of a message of either form; None where there is none."""
    if message is None or isinstance(message, str):
        return message
    text = message["text"]
    return None if text is None else str(text)
