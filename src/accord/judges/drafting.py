"""From rules that people voted on to a constitution that names the vote."""

import re
from collections.abc import Sequence
from typing import Any

import tomli_w

from accord.annotation.elections import Elected
from accord.judges.constitution import Constitution
from accord.store.drafting import Poll


def drafted(
    poll: Poll, elected: Elected, *, name: str, version: int, project: str, rule: str, votes: str
) -> Constitution:
    """The elected rules as principles, and every rule with its support in the decision.

    Args:
        poll: what was voted on.
        elected: places in the poll, in the order in which they were taken.
        name: of the constitution.
        version: of it.
        project: whose votes they are.
        rule: of social choice.
        votes: a hash of the judgements that decided.
    """
    ids = _ids(poll.texts)
    options: list[dict[str, Any]] = []
    for place, text in enumerate(poll.texts):
        option = {"id": ids[place], "text": text, "support": round(elected.support[place], 4)}
        if place in elected.chosen:
            option["place"] = elected.chosen.index(place) + 1
        options.append(option)
    options.sort(key=lambda option: option.get("place", len(poll.texts) + 1))
    decision = {
        "project": project,
        "rule": rule,
        "voters": len(poll.voters),
        "judgements": votes,
        "options": options,
    }
    principles = [
        {
            "id": ids[place],
            "part": poll.parts[place],
            **requests_of(poll.texts[place]),
            "source": f"proposed and voted on in project {project}",
        }
        for place in elected.chosen
    ]
    values = {"name": name, "version": version, "decision": decision, "principle": principles}
    return Constitution.from_values(values, where=f"project {project}")


def requests_of(rule: str) -> dict[str, str]:
    """What a model is told of a rule that is one sentence."""
    return {
        "critique_request": f"There is a rule: {rule} Say where your response does not keep it.",
        "revision_request": f"Write your response again so that it keeps the rule: {rule}",
        "comparison": f"There is a rule: {rule} Which response keeps it better?",
    }


def as_toml(constitution: Constitution) -> str:
    """The file of a constitution; `read_constitution` has it back."""
    values = constitution.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return tomli_w.dumps({"name": constitution.name, "version": constitution.version, **values})


def _ids(texts: Sequence[str]) -> list[str]:
    """An id each, of its first words that say something; a number where two would be one."""
    found: list[str] = []
    for text in texts:
        words = [w for w in re.findall(r"[a-z0-9]+", text.lower()) if w not in _COMMON][:5]
        name = "-".join(words) or "rule"
        number = 2
        unique = name
        while unique in found:
            unique, number = f"{name}-{number}", number + 1
        found.append(unique)
    return found


_COMMON = frozenset(["the", "a", "an", "assistant", "should", "must", "it", "its", "to", "of"])
