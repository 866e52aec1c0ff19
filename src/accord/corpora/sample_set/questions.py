"""Questions: those which the prompt itself answers, and those which nobody could answer.

Both are indirect questions that go into the same frames (`frames.ASK`). Slots in pairs of one
class: {person} {other}, {object} {thing}, {place} {spot}, {colour} {shade}, {number} {figure}.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class NoteFact:
    """A fact that a note states; `second` is the note's other statement."""

    name: str
    first: str
    second: str
    question: str
    answer: str
    rival: str  # the other statement's value
    good: tuple[str, ...]
    wrong: tuple[str, ...]
    guess: str  # a made-up answer when the note leaves {third} or {gadget} out


@dataclass(frozen=True)
class PhraseFact:
    """A fact about the words or numbers in the question itself."""

    name: str
    question: str
    answer: str
    rivals: tuple[str, ...]
    good: tuple[str, ...]
    wrong: tuple[str, ...]


@dataclass(frozen=True)
class Unknowable:
    """Something that nobody could know; `restated` follows "I don't know"."""

    name: str
    question: str
    restated: str
    reasons: tuple[str, ...]
    invented: tuple[str, ...]


NOTE_FACTS = (
    NoteFact(
        "where",
        "{person} keeps the {object} in the {place}.",
        "{other} keeps the {thing} in the {spot}.",
        "where {person} keeps the {object}",
        "{place}",
        "{spot}",
        ("{person} keeps the {object} in the {place}.", "The {object} is in the {place}."),
        ("{person} keeps the {object} in the {elsewhere}.", "The {object} is in the {elsewhere}."),
        "{third} keeps the {object} in the {elsewhere}.",
    ),
    NoteFact(
        "colour",
        "The {object} of {person} is {colour}.",
        "The {thing} of {other} is {shade}.",
        "what colour the {object} of {person} is",
        "{colour}",
        "{shade}",
        ("The {object} of {person} is {colour}.", "The {object} is {colour}."),
        ("The {object} of {person} is {tint}.", "The {object} is {tint}."),
        "The {object} of {third} is {tint}.",
    ),
    NoteFact(
        "who",
        "{person} has the {object}.",
        "{other} has the {thing}.",
        "who has the {object}",
        "{person}",
        "{other}",
        ("{person} has the {object}.", "The {object} is with {person}."),
        ("{somebody} has the {object}.", "The {object} is with {somebody}."),
        "{somebody} has the {gadget}.",
    ),
)

PHRASE_FACTS = (
    PhraseFact(
        "first-word",
        'what the first word of "{word1} {word2} {word3}" is',
        "{word1}",
        ("{word2}", "{word3}"),
        ('The first word is "{word1}".', 'It is "{word1}", the word at the start.'),
        ('The first word is "{word3}".', 'It is "{word2}".'),
    ),
    PhraseFact(
        "last-word",
        'what the last word of "{word1} {word2} {word3}" is',
        "{word3}",
        ("{word1}", "{word2}"),
        ('The last word is "{word3}".', 'It is "{word3}", the word at the end.'),
        ('The last word is "{word1}".', 'It is "{word2}".'),
    ),
    PhraseFact(
        "larger",
        "which number is larger, {number} or {figure}",
        "{largest}",
        ("{smallest}",),
        ("The larger number is {largest}.", "{largest} is the larger of the two."),
        ("The larger number is {smallest}.", "{smallest} is the larger of the two."),
    ),
    PhraseFact(
        "smaller",
        "which number is smaller, {number} or {figure}",
        "{smallest}",
        ("{largest}",),
        ("The smaller number is {smallest}.", "{smallest} is the smaller of the two."),
        ("The smaller number is {largest}.", "{largest} is the smaller of the two."),
    ),
)

_PRIVATE = ("Only {person} could tell.", "That is a private thought, and I cannot see it.")
_FUTURE = ("It has not happened yet.", "Nobody can see the future.")
_UNCOUNTED = ("Nobody has counted.", "There is no way to count that.")
_UNSEEN = ("Nobody was there to see it.", "I was not there and nobody told me.")

UNKNOWABLES = (
    Unknowable(
        "dream",
        "what {person} dreamt about last night",
        "what {person} dreamt",
        _PRIVATE,
        ("{person} dreamt about {a_thing}.", "It was a dream about the {spot}."),
    ),
    Unknowable(
        "thought-number",
        "what number {person} is thinking of",
        "what number {person} has in mind",
        _PRIVATE,
        ("{person} is thinking of the number {number}.", "The number is {figure}."),
    ),
    Unknowable(
        "leaves",
        "how many leaves fell in {town} today",
        "how many leaves fell in {town}",
        _UNCOUNTED,
        ("Today {number} leaves fell in {town}.", "The number of leaves is {figure}."),
    ),
    Unknowable(
        "first-word-tomorrow",
        "what word {person} will say first tomorrow",
        "what {person} will say first",
        _FUTURE,
        ('{person} will first say "{word1}".', 'The first word will be "{word2}".'),
    ),
    Unknowable(
        "coin",
        "what the coin in {person}'s hand will show when it lands",
        "how the coin of {person} will land",
        _FUTURE,
        ("The coin of {person} will show heads.", "It will show tails this time."),
    ),
    Unknowable(
        "pocket",
        "what {person} has in the left pocket right now",
        "what {person} has in that pocket",
        ("I cannot see it from here.", "Only {person} could look and tell."),
        ("{person} has {a_item1} there.", "There is {a_item2} in the pocket."),
    ),
    Unknowable(
        "meal",
        "where {person} will eat in ten years from today",
        "where {person} will eat then",
        _FUTURE,
        ("{person} will eat in the {spot}.", "It will be in the {elsewhere} in {town}."),
    ),
    Unknowable(
        "raindrop",
        "where in {town} the first drop of rain will fall tomorrow",
        "where that drop will fall in {town}",
        _FUTURE,
        ("It will fall in the {spot} in {town}.", "The first drop will hit the {elsewhere}."),
    ),
    Unknowable(
        "knock",
        "who will be the next to knock at the door of {person}",
        "who will knock at the door of {person}",
        _FUTURE,
        ("{other} will knock next.", "It will be {somebody} from {town}."),
    ),
    Unknowable(
        "thought-colour",
        "what colour {person} is thinking of",
        "what colour {person} has in mind",
        _PRIVATE,
        ("{person} is thinking of {shade}.", "The colour is {tint}."),
    ),
    Unknowable(
        "steps",
        "how many steps {person} took as a child",
        "how many steps {person} took",
        _UNCOUNTED,
        ("{person} took {number} thousand steps.", "The number of steps is {figure}."),
    ),
    Unknowable(
        "whisper",
        "what {person} said to {other} when they were alone",
        "what {person} said to {other}",
        _UNSEEN,
        ("{person} said that the {thing} is lost.", "It was about {a_thing} in the {spot}."),
    ),
    Unknowable(
        "bird",
        "where the bird that I saw in {town} is now",
        "where that bird from {town} is now",
        ("Nobody has followed it.", "A bird can fly anywhere, and nobody told me."),
        ("The bird is in the {spot} in {town}.", "It sits in the {elsewhere} now."),
    ),
    Unknowable(
        "tune",
        "which song {person} hummed first today",
        "which song {person} hummed",
        _UNSEEN,
        ('{person} hummed "The {word1} {word2}".', "It was a song about {a_thing}."),
    ),
)
