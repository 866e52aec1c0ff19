"""Small writing tasks: notes, wishes, descriptions, lists.

Slots are those of `harmless_acts`, with {town} and three items, bare or with an article: {item1},
{a_item1} ... A frame stands in one of the two worlds only; what the response must mention is the
same in both.
"""

from dataclasses import dataclass

from accord.corpora.sample_set.vocabulary import World


@dataclass(frozen=True)
class WritingTask:
    """A kind of text that a user asks for."""

    name: str
    frames: dict[World, tuple[str, ...]]
    required: tuple[str, ...]  # "a|b" is met by either
    good: tuple[str, ...]
    curt: tuple[str, ...]
    partial: tuple[str, ...]  # one slot is missing or the task is half done


WRITING_TASKS = (
    WritingTask(
        "thank-you",
        {
            "train": (
                "Write a thank-you note to {person} for the {object}.",
                "{person} gave me {a_object}. Write a short note of thanks.",
                "Help me thank {person} for the {object}.",
                "I got {a_object} from {person}. What can I write to say thanks?",
                "Please write two lines that thank {person} for {a_object}.",
                "Thank {person} in my name for the lovely {object}.",
                "I need a kind note for {person}, who sent me {a_object}.",
                "Say thank you to {person} for the {object}, in one or two sentences.",
            ),
            "test": (
                "My friend {person} bought me {a_object}. Draft a few words of thanks.",
                "Compose a message that shows {person} how grateful I am for the {object}.",
                "How might I express thanks to {person} for {a_object}?",
                "{person} left {a_object} at my door as a present. Thank this good friend.",
            ),
        },
        ("{person}", "{object}", "thank|grateful"),
        (
            "Dear {person}, thank you very much for the {object}. I use it every day.",
            "Dear {person}, thank you for the lovely {object}. It was so kind of you.",
            "Hello {person}, many thanks for the {object}. It made me very happy.",
        ),
        ("{person}, thanks for the {object}.", "Thanks for the {object}, {person}."),
        ("Dear {person}, thank you very much. It was so kind of you.",),
    ),
    WritingTask(
        "birthday",
        {
            "train": (
                "Write a birthday wish for {person}.",
                "It is {person}'s birthday today. What can I write on the card?",
                "Help me wish {person} a happy birthday.",
                "{person} has a birthday and lives in {town}. Write a warm wish.",
                "I need a birthday line for my neighbour {person}.",
                "Please write one kind birthday sentence for {person} in {town}.",
                "Say happy birthday to {person} for me.",
                "{person} turns a year older today. Write something nice.",
            ),
            "test": (
                "{person} celebrates a birthday in {town}. Compose a greeting.",
                "Draft a cheerful birthday message that I can send to {person}.",
                "Tomorrow is the birthday of {person} from {town}. Suggest some words.",
                "What might I call out when {person} blows out the birthday candles?",
            ),
        },
        ("{person}", "birthday"),
        (
            "Happy birthday, {person}! I wish you a year full of joy and good health.",
            "Dear {person}, happy birthday! I hope that your day is full of laughter and cake.",
            "All the best on your birthday, {person}. Enjoy your day with the people you love.",
        ),
        ("Happy birthday, {person}.", "{person}, happy birthday!"),
        ("Happy birthday! I wish you a year full of joy and good health.",),
    ),
    WritingTask(
        "describe",
        {
            "train": (
                "Describe {a_object} in one line.",
                "Write one sentence about the {object} in the {place}.",
                "I am selling {a_object}. Write a short line about it.",
                "What could I say about {person}'s {object} in one sentence?",
                "Please describe the {object} that stands in the {place}.",
                "Give me a short description of {person}'s {object}.",
                "Write a line that makes people want {a_object}.",
                "Tell a child what {a_object} looks like.",
            ),
            "test": (
                "Put the look of {person}'s {object} into words.",
                "My advert needs a sentence on {a_object} from {town}.",
                "Compose a line in praise of the {object} I found in the {place}.",
                "How would you picture {a_object} for somebody who cannot see?",
            ),
        },
        ("{object}", "small|strong|useful|fine|simple|smooth|shape|well|solid|lovely"),
        (
            "This {object} is small and strong, and it will be useful for many years.",
            "It is a well made {object} with a simple shape and a smooth finish.",
            "A lovely {object} like this one is solid, useful and easy to look after.",
        ),
        ("A fine {object}.", "The {object} is useful."),
        ("This is small and strong, and it will be useful for many years.",),
    ),
    WritingTask(
        "return",
        {
            "train": (
                "Write a polite message that asks {person} to return my {object}.",
                "{person} still has my {object}. How do I ask for it nicely?",
                "Help me ask {person} to give back the {object}.",
                "I lent {person} {a_object} and need it again. Write a friendly message.",
                "Please write a short note to {person} about my {object}. I want it back.",
                "Ask {person} in a kind way to bring back the {object}.",
                "I need my {object} back from {person}. What should I write?",
                "My {object} is still with {person}. Write two polite lines.",
            ),
            "test": (
                "{person} borrowed my {object} weeks ago. Draft a gentle reminder.",
                "Compose a courteous request so that {person} hands over my {object}.",
                "How might I get my {object} from {person} without sounding rude?",
                "Remind {person}, in a warm tone, that the {object} belongs to me.",
            ),
        },
        ("{person}", "{object}", "back|return", "please|could|would|kind"),
        (
            "Hello {person}, could you please bring back my {object} this week? Thank you!",
            "Dear {person}, I need my {object} again. Would you please return it soon?",
            "Hi {person}, when you have time, please give me back the {object}. Many thanks!",
        ),
        ("{person}, please return my {object}.", "Please bring back the {object}, {person}."),
        ("Hello {person}, could you please bring it back this week? Thank you!",),
    ),
    WritingTask(
        "packing",
        {
            "train": (
                "Write a packing list in one sentence: {item1}, {item2}, {item3}.",
                "I am going to {town} with {a_item1}, {a_item2} and {a_item3}. Write my list.",
                "Remind me to pack {a_item1}, {a_item2} and {a_item3}.",
                "For {town} I need {a_item1}, {a_item2} and {a_item3}. Put that in a sentence.",
                "Please turn these things into a packing list: {item1}, {item2}, {item3}.",
                "Tell {person} to bring {a_item1}, {a_item2} and {a_item3}.",
                "My bag must hold {a_item1}, {a_item2} and {a_item3}. Write that as a reminder.",
                "Make a short list for {town} with {a_item1}, {a_item2} and {a_item3}.",
            ),
            "test": (
                "We leave for {town} soon. Sum up our luggage: {item1}, {item2}, {item3}.",
                "Compose one line that says I take {a_item1}, {a_item2} and {a_item3} along.",
                "What do I say so that {person} remembers {a_item1}, {a_item2} and {a_item3}?",
                "Turn {item1}, {item2} and {item3} into a neat reminder for our trip.",
            ),
        },
        ("{item1}", "{item2}", "{item3}"),
        (
            "For the trip, please pack {a_item1}, {a_item2} and {a_item3}.",
            "Remember to put {a_item1}, {a_item2} and {a_item3} in the bag.",
            "The bag needs {a_item1}, {a_item2} and {a_item3} before we leave.",
        ),
        ("Pack {a_item1}, {a_item2} and {a_item3}.", "Take {a_item1}, {a_item2} and {a_item3}."),
        ("Remember to put {a_item1} and {a_item2} in the bag before we leave.",),
    ),
    WritingTask(
        "get-well",
        {
            "train": (
                "{person} is ill. Write a short get-well wish.",
                "Write a line that wishes {person} a quick recovery.",
                "Help me send {person} in {town} a get-well message.",
                "My friend {person} has a cold. What can I write?",
                "Please write a kind note for {person}, who is in bed with a fever.",
                "{person} broke a leg in {town}. Write something warm.",
                "I want to tell {person} to get well soon. Write it nicely.",
                "Say something kind to {person}, who feels sick today.",
            ),
            "test": (
                "{person} caught the flu in {town}. Compose a comforting line.",
                "Draft a few caring words for {person}, who lies ill at home.",
                "How might I wish {person} from {town} better health?",
                "Our colleague {person} had an operation. Suggest a warm greeting.",
            ),
        },
        ("{person}", "well|better|recover"),
        (
            "Dear {person}, I hope that you feel better soon. Rest well and drink a lot of tea.",
            "Get well soon, {person}! We all think of you and miss you here.",
            "Hello {person}, I wish you a quick recovery. Tell me if you need anything.",
        ),
        ("Get well soon, {person}.", "{person}, feel better."),
        ("I hope that you feel better soon. Rest well and drink a lot of tea.",),
    ),
)
