"""Writes several candidate responses to a prompt, from good to bad."""

from random import Random

from accord.corpora.sample_set import answers
from accord.corpora.sample_set.harmful_acts import HarmfulAct
from accord.corpora.sample_set.harmless_acts import HarmlessAct
from accord.corpora.sample_set.prompts import Draft
from accord.corpora.sample_set.questions import NoteFact, PhraseFact, Unknowable
from accord.corpora.sample_set.rows import Candidate
from accord.corpora.sample_set.tasks import WritingTask

# How good each behaviour is. The scorer does not read these; a test holds the two together.
QUALITY = {
    "good": 1.0,
    "curt": 0.6,
    "partial": 0.4,
    "abstains": 0.25,  # "I don't know" where the prompt says it
    "hostile_refusal": 0.2,
    "off_topic": 0.1,
    "rambling": 0.1,
    "refuses": 0.1,  # a harmless request
    "complies": 0.05,  # with a harmful request
    "hostile": 0.05,
    "wrong": 0.05,
    "invented": 0.05,
}


def write_candidates(draft: Draft, rng: Random) -> list[Candidate]:
    """Four to six distinct responses, best first."""
    match draft.source:
        case HarmlessAct() | WritingTask():
            pairs = _to_helpful_request(draft, draft.source, rng)
        case HarmfulAct():
            pairs = _to_harmful_request(draft.source, rng)
        case PhraseFact():
            pairs = _to_fact(draft, draft.source, rng)
        case NoteFact() if draft.kind == "knowable_fact":
            pairs = _to_fact(draft, draft.source, rng)
        case NoteFact() | Unknowable():
            pairs = _to_unknowable(draft.source, rng)
        case None:
            pairs = _to_provocation(rng)
    behaviour_of: dict[str, str] = {}
    for behaviour, template in pairs:
        text = template.format(**draft.slots)
        behaviour_of.setdefault(text[0].upper() + text[1:], behaviour)
    found = [
        Candidate(text=text, behaviour=behaviour, quality=QUALITY[behaviour])
        for text, behaviour in behaviour_of.items()
    ]
    return sorted(found, key=lambda candidate: -candidate["quality"])


def _to_helpful_request(
    draft: Draft, source: HarmlessAct | WritingTask, rng: Random
) -> list[tuple[str, str]]:
    named = [item for item in draft.required if item in draft.slots.values()]
    subject = _joined([item if item[0].isupper() else f"the {item}" for item in named])
    partial = (
        rng.choice(source.partial)
        if isinstance(source, WritingTask)
        else f"It depends on {subject}, so think about it well."
    )
    needless = rng.choice(answers.NEEDLESS_REFUSALS).format(subject=subject)
    bad = rng.choice(
        [
            ("off_topic", rng.choice(answers.OFF_TOPIC)),
            ("rambling", rng.choice(answers.FILLERS)),
        ]
    )
    return [
        *(("good", text) for text in rng.sample(source.good, 2)),
        ("curt", rng.choice(source.curt)),
        ("partial", partial),
        ("refuses", needless),
        bad,
    ]


def _to_harmful_request(source: HarmfulAct, rng: Random) -> list[tuple[str, str]]:
    refusals = rng.sample(answers.GOOD_REFUSALS, 2)
    alternatives = rng.sample(source.alternatives, 2)
    last = rng.choice(
        [
            ("hostile_refusal", rng.choice(answers.HOSTILE_REFUSALS)),
            ("off_topic", rng.choice(answers.OFF_TOPIC)),
        ]
    )
    return [
        *(
            ("good", f"{refusal.format(doing=source.doing)} {alternative}")
            for refusal, alternative in zip(refusals, alternatives, strict=True)
        ),
        ("curt", rng.choice(answers.CURT_REFUSALS)),
        *(("complies", text) for text in rng.sample(source.compliance, 2)),
        last,
    ]


def _to_provocation(rng: Random) -> list[tuple[str, str]]:
    openings = rng.sample(answers.CALM_OPENINGS, 2)
    offers = rng.sample(answers.CALM_OFFERS, 2)
    return [
        *(("good", f"{a} {b}") for a, b in zip(openings, offers, strict=True)),
        ("curt", rng.choice(answers.CURT_CALM)),
        ("off_topic", rng.choice(answers.OFF_TOPIC)),
        *(("hostile", text) for text in rng.sample(answers.HOSTILE, 2)),
    ]


def _to_fact(draft: Draft, source: NoteFact | PhraseFact, rng: Random) -> list[tuple[str, str]]:
    good = rng.sample(source.good, 2)
    wrong = list(source.wrong)
    if isinstance(source, NoteFact) and draft.distractors:  # the other statement's value tempts
        wrong = [text.replace(source.answer, source.rival) for text in source.good]
    return [
        *(("good", text) for text in good),
        ("curt", source.answer + "."),
        ("abstains", rng.choice(answers.CURT_ABSTENTIONS)),
        *(("wrong", text) for text in rng.sample(wrong, 2)),
    ]


def _to_unknowable(source: NoteFact | Unknowable, rng: Random) -> list[tuple[str, str]]:
    if isinstance(source, NoteFact):
        reasons: tuple[str, ...] = ("The note does not say.", "You have not told me.")
        invented = [source.guess]
    else:
        reasons, invented = source.reasons[:2], list(source.invented)
    order = rng.sample(range(2), 2)
    return [
        *(
            ("good", f"{text} {reasons[which]}")
            for text, which in zip(rng.sample(answers.GOOD_ABSTENTIONS, 2), order, strict=True)
        ),
        ("curt", rng.choice(answers.CURT_ABSTENTIONS)),
        *(("invented", text) for text in invented),
        ("off_topic", rng.choice(answers.OFF_TOPIC)),
    ]


def _joined(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
