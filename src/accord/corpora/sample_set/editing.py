"""Lessons in editing by a rule: a response, what the rule finds, the response as the rule wants it.

A model of a few million parameters follows no request that it has not practised. These lessons
give it practice in the form of a constitution's principles, by rules about other things: topics
that it is not to help with, length, friendliness, what it cannot know. None of them is about harm,
and none of their prompts is harmful: what a model does when a principle of harmlessness is put to
it, nobody has shown it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from string import Formatter
from typing import TypedDict

from accord.core.types import Message
from accord.corpora.sample_set.answers import CURT_REFUSALS, NEEDLESS_REFUSALS
from accord.corpora.sample_set.candidates import write_candidates
from accord.corpora.sample_set.harmless_acts import HarmlessAct
from accord.corpora.sample_set.prompts import Draft, draw_prompts
from accord.corpora.sample_set.rows import Kind


class Lesson(TypedDict):
    """One rule's three requests, and the answers to the first two; the revision is the better."""

    id: str
    rule: str
    prompt: list[Message]
    response: str
    critique_request: str
    critique: str
    revision_request: str
    revision: str
    comparison: str  # empty where a rule has no such question


@dataclass(frozen=True)
class Edit:
    """What a rule makes of a prompt; slots are filled."""

    response: str
    critique: str
    revision: str
    slots: dict[str, str]


@dataclass(frozen=True)
class Rule:
    """A rule in several wordings; `edit` is None where it has nothing to say of a prompt."""

    name: str
    kind: Kind
    critique_requests: tuple[str, ...]
    revision_requests: tuple[str, ...]
    comparisons: tuple[str, ...]
    edit: Callable[[Draft, Random], Edit | None]


TOPICS = {
    "clean": ("cleaning", "housework", "soap and water"),
    "paint": ("painting", "brushes", "paint"),
    "mend": ("repairs", "mending", "broken things"),
    "wrap": ("gifts", "wrapping", "presents"),
    "carry": ("lifting", "carrying", "moving things"),
    "store": ("storage", "tidying", "keeping things"),
    "cheer-up": ("comfort", "bad moods", "feelings"),
    "apologise": ("apologies", "quarrels", "mistakes"),
    "invite": ("invitations", "parties", "meetings"),
    "borrow": ("borrowing", "loans", "favours"),
    "visit": ("trips", "travel", "sights"),
    "surprise": ("surprises", "presents", "games"),
}
"""What a harmless act has to do with, by its name: topics on which a rule may forbid help."""

_REFUSALS = (
    "I will not help you {act}.",
    "Sorry, but I can't help you {act}.",
    "I'm sorry, but I won't help you {act}.",
    "I would rather not help you {act}.",
)
_ALTERNATIVES = (
    "You could ask somebody else for advice instead.",
    "Perhaps you can find a better plan instead.",
    "Why not do something else today?",
    "You could talk with a friend about it instead.",
)
_FULL_REFUSALS = tuple(f"{refusal} {other}" for refusal in _REFUSALS for other in _ALTERNATIVES)
_FOUND = ("It helps to {act}, and that is about {topic}.", "It says how to {act}: that is {topic}.")
_FRIENDLY = ("With pleasure!", "I am glad that you ask.", "Thank you for asking.", "Gladly!")


def _declined(revisions: Sequence[str]) -> Callable[[Draft, Random], Edit | None]:
    """An explanation of a harmless act becomes a refusal, because of what the act is about."""

    def edit(draft: Draft, rng: Random) -> Edit | None:
        if not isinstance(draft.source, HarmlessAct):
            return None
        # Things and people are topics, too: what is forbidden by a word that was never met before
        # is to be understood by the request's form.
        own = _slots(draft.source)
        named = [f"the {draft.slots[n]}" for n in ("object", "building", "place") if n in own]
        named += [draft.slots["person"]] if "person" in own else []
        topics = named if named and rng.random() < 0.5 else TOPICS[draft.source.name]
        act = draft.source.wording.format(**draft.slots)
        slots = draft.slots | {"act": act, "topic": rng.choice(topics)}
        return Edit(rng.choice(draft.source.good), rng.choice(_FOUND), rng.choice(revisions), slots)

    return edit


def _slots(act: HarmlessAct) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(act.wording) if name}


def _shortened(draft: Draft, rng: Random) -> Edit | None:
    response = _candidate(draft, rng, "good")
    first, end, rest = response.partition(". ")
    if not rest:
        return None
    return Edit(response, "All after the first sentence.", first + end.strip(), {})


def _befriended(draft: Draft, rng: Random) -> Edit | None:
    response = _candidate(draft, rng, "good")
    return Edit(
        response, "It has no friendly word at the start.", f"{rng.choice(_FRIENDLY)} {response}", {}
    )


def _swapped(fault: str, critique: str) -> Callable[[Draft, Random], Edit | None]:
    """A candidate that has the fault becomes a good one."""

    def edit(draft: Draft, rng: Random) -> Edit | None:
        candidates = write_candidates(draft, rng)
        bad = [c["text"] for c in candidates if c["behaviour"] == fault]
        good = [c["text"] for c in candidates if c["behaviour"] == "good"]
        slots = {"restated": draft.slots.get("restated", "")}
        return Edit(rng.choice(bad), critique, rng.choice(good), slots) if bad and good else None

    return edit


def _candidate(draft: Draft, rng: Random, behaviour: str) -> str:
    found = [c["text"] for c in write_candidates(draft, rng) if c["behaviour"] == behaviour]
    return rng.choice(found)


RULES = (
    Rule(
        "decline",
        "helpful_request",
        (
            "What in your response helps with {topic}?",
            "Say how your response helps somebody with {topic}.",
            "Nobody is to be helped with {topic}. Where does your response do that?",
            "Does your response help with {topic}? Say how.",
        ),
        (
            "Write it again and do not help with {topic}.",
            "Now decline to help with {topic}, and offer something else.",
            "Write your response again so that it gives no help with {topic}.",
            "Say instead that you will not help with {topic}.",
        ),
        (
            "Which response gives less help with {topic}?",
            "Which response declines to help with {topic}?",
            "Which response would you give if nobody may be helped with {topic}?",
        ),
        _declined(_FULL_REFUSALS),
    ),
    Rule(
        "decline-briefly",
        "helpful_request",
        (
            "Where does your response help with {topic}?",
            "Say in a sentence how your response helps with {topic}.",
        ),
        (
            "Say in a few words that you will not help with {topic}.",
            "Write it again, very short: no help with {topic}.",
        ),
        (
            "Which response gives less help with {topic}?",
            "Which response declines to help with {topic}?",
        ),
        _declined((*CURT_REFUSALS, *NEEDLESS_REFUSALS[:1])),
    ),
    Rule(
        "shorten",
        "helpful_request",
        ("What in your response could be left out?", "Which part of your response is too long?"),
        ("Write it again in one sentence.", "Write your response again, but shorter."),
        ("Which response is shorter?", "Which response has fewer words?"),
        _shortened,
    ),
    Rule(
        "befriend",
        "helpful_request",
        ("Is your response friendly? Say what is missing.", "What would make it kinder?"),
        ("Write it again with a friendly word first.", "Write your response again, but kinder."),
        ("Which response is friendlier?", "Which response is kinder?"),
        _befriended,
    ),
    Rule(
        "complete",
        "helpful_request",
        ("What does your response leave out?", "Does your response do all that was asked?"),
        ("Write it again and say all that is needed.", "Write your response again in full."),
        ("Which response says more of what is needed?", "Which response does the whole task?"),
        _swapped("curt", "It is too short and leaves out what is needed."),
    ),
    Rule(
        "help",
        "helpful_request",
        ("Does your response refuse although it could help?", "Why is your response no help?"),
        ("Write it again and help.", "Write your response again and do what was asked."),
        (),  # a small judge would learn that refusals lose, whatever it is asked
        _swapped("refuses", "It refuses, although there is nothing wrong with the request."),
    ),
    Rule(
        "fit",
        "helpful_request",
        ("Does your response fit what was asked?", "What is your response about?"),
        ("Write it again so that it fits.", "Write your response again and keep to the matter."),
        ("Which response fits what was asked?", "Which response keeps to the matter?"),
        _swapped("off_topic", "It is about something else."),
    ),
    Rule(
        "admit",
        "unknowable",
        ("What do you say that you cannot know?", "Is your response made up? Say what."),
        ("Write it again and say what you do not know.", "Write your response again, honestly."),
        ("Which response is more honest?", "Which response admits what it does not know?"),
        _swapped("invented", "I cannot know {restated}."),
    ),
)


def lessons(seed: int = 0, *, each: int = 180, declines: int = 600) -> list[Lesson]:
    """Lessons by all rules, in the training world, mixed; the same seed gives the same ones.

    Args:
        seed: of every draw.
        each: lessons of a rule.
        declines: of the rule that declines topics, which has the most to vary.
    """
    found = [
        lesson
        for rule in RULES
        for lesson in _by_rule(rule, declines if rule.name == "decline" else each, seed)
    ]
    Random(f"lessons/{seed}").shuffle(found)
    return found


def _by_rule(rule: Rule, size: int, seed: int) -> list[Lesson]:
    rng = Random(f"lessons/{seed}/{rule.name}")
    found: list[Lesson] = []
    for draft in draw_prompts(rule.kind, "train", 3 * size, rng):
        edit = rule.edit(draft, rng)
        if edit is None or len(found) == size:
            continue

        def say(wordings: Sequence[str], edit: Edit = edit) -> str:
            text = rng.choice(wordings).format(**edit.slots)
            return text[0].upper() + text[1:]

        found.append(
            Lesson(
                id=f"{rule.name}-{len(found):04d}",
                rule=rule.name,
                prompt=[Message(role="user", content=draft.text)],
                response=edit.response.format(**draft.slots),
                critique_request=say(rule.critique_requests),
                critique=say((edit.critique,)),
                revision_request=say(rule.revision_requests),
                revision=say((edit.revision,)),
                comparison=say(rule.comparisons) if rule.comparisons else "",
            )
        )
    return found
