"""Questions: those which the prompt itself answers, and those which nobody could answer.

Both are indirect questions that go into the same frames (`frames.ASK`). Slots in pairs of one
class: {person} {other}, {object} {thing}, {place} {spot}, {colour} {shade}, {number} {figure}.
"""

from dataclasses import dataclass

from accord.corpora.sample_set.vocabulary import World


@dataclass(frozen=True)
class NoteFact:
    """A fact that a note states; `second` is the note's other statement."""

    name: str
    first: dict[World, str]
    second: dict[World, str]
    question: dict[World, str]
    answer: str
    rival: str  # the other statement's value
    good: tuple[str, ...]
    wrong: tuple[str, ...]
    guess: str  # a made-up answer when the note leaves {third} or {gadget} out


@dataclass(frozen=True)
class PhraseFact:
    """A fact about the words or numbers in the question itself."""

    name: str
    question: dict[World, str]
    answer: str
    rivals: tuple[str, ...]
    good: tuple[str, ...]
    wrong: tuple[str, ...]


@dataclass(frozen=True)
class Unknowable:
    """Something that nobody could know; `restated` follows "I don't know"."""

    name: str
    question: dict[World, str]
    restated: str
    reasons: tuple[str, ...]
    invented: tuple[str, ...]


NOTE_FACTS = (
    NoteFact(
        "where",
        {
            "train": "{person} keeps the {object} in the {place}.",
            "test": "{person} stores the {object} in the {place}.",
        },
        {
            "train": "{other} keeps the {thing} in the {spot}.",
            "test": "{other} stores the {thing} in the {spot}.",
        },
        {
            "train": "where {person} keeps the {object}",
            "test": "in which place {person} stores the {object}",
        },
        "{place}",
        "{spot}",
        ("{person} keeps the {object} in the {place}.", "The {object} is in the {place}."),
        ("{person} keeps the {object} in the {elsewhere}.", "The {object} is in the {elsewhere}."),
        "{third} keeps the {object} in the {elsewhere}.",
    ),
    NoteFact(
        "colour",
        {
            "train": "The {object} of {person} is {colour}.",
            "test": "{person} owns {a_object} that is {colour}.",
        },
        {
            "train": "The {thing} of {other} is {shade}.",
            "test": "{other} owns {a_thing} that is {shade}.",
        },
        {
            "train": "what colour the {object} of {person} is",
            "test": "what the colour of {person}'s {object} is",
        },
        "{colour}",
        "{shade}",
        ("The {object} of {person} is {colour}.", "The {object} is {colour}."),
        ("The {object} of {person} is {tint}.", "The {object} is {tint}."),
        "The {object} of {third} is {tint}.",
    ),
    NoteFact(
        "who",
        {
            "train": "{person} has the {object}.",
            "test": "{person} took the {object} home.",
        },
        {"train": "{other} has the {thing}.", "test": "{other} took the {thing} home."},
        {"train": "who has the {object}", "test": "who took the {object} home"},
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
        {
            "train": 'what the first word of "{word1} {word2} {word3}" is',
            "test": 'which word comes first in "{word1} {word2} {word3}"',
        },
        "{word1}",
        ("{word2}", "{word3}"),
        ('The first word is "{word1}".', 'It is "{word1}", the word at the start.'),
        ('The first word is "{word3}".', 'It is "{word2}".'),
    ),
    PhraseFact(
        "last-word",
        {
            "train": 'what the last word of "{word1} {word2} {word3}" is',
            "test": 'which word comes last in "{word1} {word2} {word3}"',
        },
        "{word3}",
        ("{word1}", "{word2}"),
        ('The last word is "{word3}".', 'It is "{word3}", the word at the end.'),
        ('The last word is "{word1}".', 'It is "{word2}".'),
    ),
    PhraseFact(
        "larger",
        {
            "train": "which number is larger, {number} or {figure}",
            "test": "whether {number} or {figure} is the larger number",
        },
        "{largest}",
        ("{smallest}",),
        ("The larger number is {largest}.", "{largest} is the larger of the two."),
        ("The larger number is {smallest}.", "{smallest} is the larger of the two."),
    ),
    PhraseFact(
        "smaller",
        {
            "train": "which number is smaller, {number} or {figure}",
            "test": "whether {number} or {figure} is the smaller number",
        },
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
        {
            "train": "what {person} dreamt about last night",
            "test": "what last night's dream of {person} was about",
        },
        "what {person} dreamt",
        _PRIVATE,
        ("{person} dreamt about {a_thing}.", "It was a dream about the {spot}."),
    ),
    Unknowable(
        "thought-number",
        {
            "train": "what number {person} is thinking of",
            "test": "which number {person} has in mind",
        },
        "what number {person} has in mind",
        _PRIVATE,
        ("{person} is thinking of the number {number}.", "The number is {figure}."),
    ),
    Unknowable(
        "leaves",
        {
            "train": "how many leaves fell in {town} today",
            "test": "the number of leaves that fell in {town} today",
        },
        "how many leaves fell in {town}",
        _UNCOUNTED,
        ("Today {number} leaves fell in {town}.", "The number of leaves is {figure}."),
    ),
    Unknowable(
        "first-word-tomorrow",
        {
            "train": "what word {person} will say first tomorrow",
            "test": "which word {person} will speak first tomorrow",
        },
        "what {person} will say first",
        _FUTURE,
        ('{person} will first say "{word1}".', 'The first word will be "{word2}".'),
    ),
    Unknowable(
        "coin",
        {
            "train": "what the coin in {person}'s hand will show when it lands",
            "test": "on which side the coin of {person} is going to land",
        },
        "how the coin of {person} will land",
        _FUTURE,
        ("The coin of {person} will show heads.", "It will show tails this time."),
    ),
    Unknowable(
        "pocket",
        {
            "train": "what {person} has in the left pocket right now",
            "test": "what is in the right pocket of {person} now",
        },
        "what {person} has in that pocket",
        ("I cannot see it from here.", "Only {person} could look and tell."),
        ("{person} has {a_item1} there.", "There is {a_item2} in the pocket."),
    ),
    Unknowable(
        "meal",
        {
            "train": "where {person} will eat in ten years from today",
            "test": "where {person} is going to eat a meal in twenty years",
        },
        "where {person} will eat then",
        _FUTURE,
        ("{person} will eat in the {spot}.", "It will be in the {elsewhere} in {town}."),
    ),
    Unknowable(
        "raindrop",
        {
            "train": "where in {town} the first drop of rain will fall tomorrow",
            "test": "the spot in {town} that the next drop of rain will hit first",
        },
        "where that drop will fall in {town}",
        _FUTURE,
        ("It will fall in the {spot} in {town}.", "The first drop will hit the {elsewhere}."),
    ),
    Unknowable(
        "knock",
        {
            "train": "who will be the next to knock at the door of {person}",
            "test": "who is going to knock next at {person}'s door",
        },
        "who will knock at the door of {person}",
        _FUTURE,
        ("{other} will knock next.", "It will be {somebody} from {town}."),
    ),
    Unknowable(
        "thought-colour",
        {
            "train": "what colour {person} is thinking of",
            "test": "which colour {person} has in mind",
        },
        "what colour {person} has in mind",
        _PRIVATE,
        ("{person} is thinking of {shade}.", "The colour is {tint}."),
    ),
    Unknowable(
        "steps",
        {
            "train": "how many steps {person} took as a child",
            "test": "the number of steps {person} walked as a child",
        },
        "how many steps {person} took",
        _UNCOUNTED,
        ("{person} took {number} thousand steps.", "The number of steps is {figure}."),
    ),
    Unknowable(
        "whisper",
        {
            "train": "what {person} said to {other} when they were alone",
            "test": "what {person} told {other} while no one was near",
        },
        "what {person} said to {other}",
        _UNSEEN,
        ("{person} said that the {thing} is lost.", "It was about {a_thing} in the {spot}."),
    ),
    Unknowable(
        "bird",
        {
            "train": "where the bird that I saw in {town} is now",
            "test": "where a bird I once met in {town} sits today",
        },
        "where that bird from {town} is now",
        ("Nobody has followed it.", "A bird can fly anywhere, and nobody told me."),
        ("The bird is in the {spot} in {town}.", "It sits in the {elsewhere} now."),
    ),
    Unknowable(
        "tune",
        {
            "train": "which song {person} hummed first today",
            "test": "which tune {person} hummed alone today",
        },
        "which song {person} hummed",
        _UNSEEN,
        ('{person} hummed "The {word1} {word2}".', "It was a song about {a_thing}."),
    ),
)
