"""Draws prompts: a frame, a task, and entities of one world, with what scoring needs to know."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from random import Random

from accord.corpora.sample_set.frames import ASK, HOW_TO, NOTE, OPENERS, PROVOKE
from accord.corpora.sample_set.harmful_acts import HARMFUL_ACTS, HarmfulAct
from accord.corpora.sample_set.harmless_acts import HARMLESS_ACTS, HarmlessAct
from accord.corpora.sample_set.questions import (
    NOTE_FACTS,
    PHRASE_FACTS,
    UNKNOWABLES,
    NoteFact,
    PhraseFact,
    Unknowable,
)
from accord.corpora.sample_set.rows import Kind
from accord.corpora.sample_set.tasks import WRITING_TASKS, WritingTask
from accord.corpora.sample_set.vocabulary import WORLDS, World, with_article

Source = HarmfulAct | HarmlessAct | WritingTask | NoteFact | PhraseFact | Unknowable | None

# A share of unknowable questions comes with a note, as most facts do: a note must not give the
# answerable questions away.
_NOTED_UNKNOWABLES = 0.6
_TWO_STATEMENTS = 0.5


@dataclass(frozen=True)
class Draft:
    """A prompt before its candidates are written; `source` is the task that it came from."""

    kind: Kind
    text: str
    phrasing: str
    slots: dict[str, str]
    source: Source
    required: tuple[str, ...] = ()
    answer: str | None = None
    distractors: tuple[str, ...] = ()

    @property
    def entities(self) -> list[str]:
        """The entities that stand in the prompt, in the order of their slots."""
        values = [
            value
            for name, value in self.slots.items()
            if not name.startswith("a_") and name != "restated"
        ]
        return [value for value in dict.fromkeys(values) if mentions(self.text, value)]


def mentions(text: str, phrase: str) -> bool:
    """Whether the phrase stands in the text as whole words, in any case."""
    return re.search(rf"(?<!\w){re.escape(phrase)}(?!\w)", text, re.IGNORECASE) is not None


def draw_prompts(kind: Kind, world: World, size: int, rng: Random) -> list[Draft]:
    """`size` distinct prompts of a kind; families and frames take turns, so that all are used.

    Raises:
        RuntimeError: the vocabulary is too small for that many distinct prompts.
    """
    draw, families = _DRAWERS[kind]
    found: dict[str, Draft] = {}
    for turn in count():
        if len(found) == size:
            return list(found.values())
        if turn > 20 * size:
            raise RuntimeError(
                f"only {len(found)} distinct prompts of kind {kind!r} in the {world!r} world, "
                f"expected {size}; add entities to sample_set/vocabulary.py"
            )
        draft = draw(families[turn % len(families)], world, turn // len(families), rng)
        draft = replace(draft, text=_opened(draft.text, world, rng))
        found.setdefault(draft.text, draft)
    raise AssertionError("unreachable")


def draw_slots(world: World, rng: Random) -> dict[str, str]:
    """Fills every slot with an entity of that world; slots of one class differ."""
    words = WORLDS[world]
    classes: tuple[tuple[Sequence[str], tuple[str, ...]], ...] = (
        (words.persons, ("person", "other", "third", "somebody")),
        (words.objects, ("object", "thing", "gadget")),
        (words.paintable, ("wooden",)),
        (words.places, ("place", "spot", "elsewhere")),
        (words.buildings, ("building",)),
        (words.towns, ("town",)),
        (words.items, ("item1", "item2", "item3")),
        (words.colours, ("colour", "shade", "tint")),
        (words.words, ("word1", "word2", "word3")),
        (words.numbers, ("number", "figure")),
    )
    slots: dict[str, str] = {}
    for entities, names in classes:
        slots.update(zip(names, rng.sample(entities, len(names)), strict=True))
    numbers = sorted((slots["number"], slots["figure"]), key=int)
    slots["smallest"], slots["largest"] = numbers
    for name in ("object", "thing", "item1", "item2", "item3"):
        slots[f"a_{name}"] = with_article(slots[name])
    return slots


def _helpful(source: HarmlessAct | WritingTask, world: World, turn: int, rng: Random) -> Draft:
    slots = draw_slots(world, rng)
    if isinstance(source, HarmlessAct):
        number, frame = _take_turns(HOW_TO[world], rng.randrange(100))
        text = frame.format(act=source.wording.format(**slots))
        phrasing = f"how-to/{world}-{number}"
    else:
        number, frame = _take_turns(source.frames[world], turn)
        text = frame.format(**slots)
        phrasing = f"{source.name}/{world}-{number}"
    required = tuple(item.format(**slots) for item in source.required)
    return Draft("helpful_request", text, phrasing, slots, source, required)


def _harmful(source: HarmfulAct, world: World, turn: int, rng: Random) -> Draft:
    slots = draw_slots(world, rng)
    number, frame = _take_turns(HOW_TO[world], turn)
    text = frame.format(act=source.wording.format(**slots))
    subject = "|".join(_named_in(source.doing, slots))
    phrasing = f"how-to/{world}-{number}"
    return Draft("harmful_request", text, phrasing, slots, source, (subject,))


def _provocation(source: None, world: World, turn: int, rng: Random) -> Draft:
    slots = draw_slots(world, rng)
    number, frame = _take_turns(PROVOKE[world], turn)
    phrasing = f"provoke/{world}-{number}"
    return Draft("provocation", frame.format(**slots), phrasing, slots, source)


def _knowable(source: NoteFact | PhraseFact, world: World, _turn: int, rng: Random) -> Draft:
    slots = draw_slots(world, rng)
    ask, phrasing = _ask(source.question.format(**slots), world, rng)
    rivals: tuple[str, ...] = ()
    if isinstance(source, PhraseFact):
        rivals = source.rivals
    else:
        both = rng.random() < _TWO_STATEMENTS
        ask, phrasing = _with_note(ask, phrasing, source, both, world, slots, rng)
        rivals = (source.rival,) if both else ()
    answer = source.answer.format(**slots)
    distractors = tuple(rival.format(**slots) for rival in rivals)
    return Draft("knowable_fact", ask, phrasing, slots, source, (answer,), answer, distractors)


def _unknowable(source: NoteFact | Unknowable, world: World, _turn: int, rng: Random) -> Draft:
    slots = draw_slots(world, rng)
    if isinstance(source, NoteFact):  # the note leaves out the person or thing that is asked for
        asked = slots | {"person": slots["third"]}
        if source.name == "who":
            asked = slots | {"object": slots["gadget"]}
        slots["restated"] = source.question.format(**asked)
        required = (slots["gadget" if source.name == "who" else "third"],)
        ask, phrasing = _ask(slots["restated"], world, rng)
        both = rng.random() < _TWO_STATEMENTS
        ask, phrasing = _with_note(ask, phrasing, source, both, world, slots, rng)
    else:
        slots["restated"] = source.restated.format(**slots)
        required = ("|".join(_named_in(source.restated, slots)),)
        ask, phrasing = _ask(source.question.format(**slots), world, rng)
        if rng.random() < _NOTED_UNKNOWABLES:
            note = rng.choice(NOTE_FACTS)
            both = rng.random() < _TWO_STATEMENTS
            ask, phrasing = _with_note(ask, phrasing, note, both, world, slots, rng)
    return Draft("unknowable", ask, phrasing, slots, source, required)


def _ask(question: str, world: World, rng: Random) -> tuple[str, str]:
    number, frame = _take_turns(ASK[world], rng.randrange(100))
    return frame.format(question=question), f"ask/{world}-{number}"


def _with_note(
    ask: str,
    phrasing: str,
    note: NoteFact,
    both: bool,
    world: World,
    slots: dict[str, str],
    rng: Random,
) -> tuple[str, str]:
    facts = [note.first] + ([note.second] if both else [])
    rng.shuffle(facts)
    number, frame = _take_turns(NOTE[world], rng.randrange(100))
    text = frame.format(facts=" ".join(facts).format(**slots), ask=ask)
    return text, f"{phrasing}+note/{world}-{number}"


def _take_turns(frames: Sequence[str], turn: int) -> tuple[int, str]:
    number = turn % len(frames)
    return number, frames[number]


def _named_in(template: str, slots: dict[str, str]) -> list[str]:
    return [slots[name] for name in re.findall(r"\{(\w+)\}", template)]


def _capitalised(text: str) -> str:
    return text[0].upper() + text[1:]


def _opened(text: str, world: World, rng: Random) -> str:
    """The prompt behind one of its world's openers, which may be empty."""
    return f"{rng.choice(OPENERS[world])} {_capitalised(text)}".strip()


# How each kind is drawn, and from which families; a family that is listed twice comes twice as
# often. Harmless acts make up nearly half of the helpful requests, for they share the harmful
# requests' frames; numbers make up little of the facts, for a tiny model can hardly compare them.
_DRAWERS: dict[Kind, tuple[Callable[..., Draft], Sequence[Source]]] = {
    "helpful_request": (
        _helpful,
        tuple(
            family
            for act, task in zip(HARMLESS_ACTS, WRITING_TASKS * 2, strict=True)
            for family in (act, task)
        ),
    ),
    "harmful_request": (_harmful, HARMFUL_ACTS),
    "provocation": (_provocation, (None,)),
    "knowable_fact": (_knowable, NOTE_FACTS * 3 + PHRASE_FACTS),
    "unknowable": (_unknowable, UNKNOWABLES + NOTE_FACTS),
}
