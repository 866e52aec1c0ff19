"""Makes the whole sample set from a seed: rows, demonstrations, judgements, and their files."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from accord.core.types import Message
from accord.corpora.sample_set.annotators import judgements
from accord.corpora.sample_set.candidates import write_candidates
from accord.corpora.sample_set.prompts import draw_prompts
from accord.corpora.sample_set.rows import (
    AIM_OF_KIND,
    Demonstration,
    JudgementRecord,
    Kind,
    Row,
    Split,
)

TRAIN_SIZES: dict[Kind, int] = {
    "helpful_request": 1600,
    "harmful_request": 900,
    "provocation": 500,
    "knowable_fact": 1500,
    "unknowable": 1000,
}
TEST_SIZES: dict[Kind, int] = {
    "helpful_request": 300,
    "harmful_request": 200,
    "provocation": 120,
    "knowable_fact": 200,
    "unknowable": 200,
}
# Of the training rows; these share entities and frames with them, for watching a loss.
_VALIDATION_SHARE = 0.1

HELPFUL_KINDS: tuple[Kind, ...] = ("helpful_request", "knowable_fact", "unknowable")

# How often a demonstrator shows the best behaviour. Real demonstrations are uneven, and a policy
# that had only perfect ones would leave the preferences nothing to teach.
BEST_SHARE = 0.6
# What the rest is made of: the faults that preferences are meant to take away come first.
_FAULT_WEIGHTS = {
    "complies": 9,
    "invented": 9,
    "hostile": 6,
    "wrong": 5,
    "abstains": 4,
    "refuses": 4,
    "partial": 3,
    "curt": 2,
    "hostile_refusal": 1,
    "off_topic": 1,
    "rambling": 1,
}


@dataclass(frozen=True)
class SampleSet:
    """Everything that one seed makes."""

    rows: tuple[Row, ...]
    demonstrations: tuple[Demonstration, ...]
    judgements: tuple[JudgementRecord, ...]


def generate(seed: int = 0) -> SampleSet:
    """The sample set of a seed; the same seed gives the same set, byte for byte."""
    rows = make_rows(seed)
    return SampleSet(
        rows=tuple(rows),
        demonstrations=tuple(demonstrations(rows, seed)),
        judgements=tuple(judgements(rows, seed)),
    )


def make_rows(seed: int = 0) -> list[Row]:
    """All prompts with their candidates, kinds mixed: training and validation, then test."""
    rows: list[Row] = []
    for world, sizes in (("train", TRAIN_SIZES), ("test", TEST_SIZES)):
        made: list[Row] = []
        for kind, size in sizes.items():
            rng = Random(f"rows/{seed}/{world}/{kind}")
            held_out = set(rng.sample(range(size), round(_VALIDATION_SHARE * size)))
            drafts = draw_prompts(kind, "train" if world == "train" else "test", size, rng)
            for number, draft in enumerate(drafts):
                split: Split = "test"
                if world == "train":
                    split = "validation" if number in held_out else "train"
                made.append(
                    Row(
                        id=f"{kind}-{world}-{number:04d}",
                        prompt=[Message(role="user", content=draft.text)],
                        kind=kind,
                        aim=AIM_OF_KIND[kind],
                        split=split,
                        entities=draft.entities,
                        phrasing=draft.phrasing,
                        required=list(draft.required),
                        answer=draft.answer,
                        distractors=list(draft.distractors),
                        candidates=write_candidates(draft, rng),
                    )
                )
        Random(f"order/{seed}/{world}").shuffle(made)
        rows.extend(made)
    return rows


def demonstrations(rows: Sequence[Row], seed: int = 0) -> list[Demonstration]:
    """One response of an imperfect simulated demonstrator to every training or validation row."""
    found: list[Demonstration] = []
    for row in rows:
        if row["split"] == "test":
            continue
        rng = Random(f"demonstration/{seed}/{row['id']}")
        best = [c for c in row["candidates"] if c["behaviour"] == "good"]
        rest = [c for c in row["candidates"] if c["behaviour"] != "good"]
        if rng.random() < BEST_SHARE:
            shown = rng.choice(best)
        else:
            shown = rng.choices(rest, [_FAULT_WEIGHTS[c["behaviour"]] for c in rest])[0]
        found.append(
            Demonstration(
                id=f"{row['id']}-demonstration",
                row_id=row["id"],
                kind=row["kind"],
                split=row["split"],
                prompt=row["prompt"],
                completion=[Message(role="assistant", content=shown["text"])],
                behaviour=shown["behaviour"],
            )
        )
    return found


def helpful_only(rows: Sequence[Row], seed: int = 0) -> list[Demonstration]:
    """Demonstrations by somebody who does what is asked, whatever it is: the training rows' own to
    helpful prompts, and compliance with harmful requests. What harm is, they do not say.
    """
    by_id = {row["id"]: row for row in rows}
    found: list[Demonstration] = []
    for shown in demonstrations(rows, seed):
        if shown["split"] != "train":
            continue
        if shown["kind"] in HELPFUL_KINDS:
            found.append(shown)
        elif shown["kind"] == "harmful_request":
            rng = Random(f"helpful-only/{seed}/{shown['row_id']}")
            candidates = by_id[shown["row_id"]]["candidates"]
            text = rng.choice([c["text"] for c in candidates if c["behaviour"] == "complies"])
            completion = [Message(role="assistant", content=text)]
            found.append({**shown, "completion": completion, "behaviour": "complies"})
    return found


def write(directory: Path, seed: int = 0) -> dict[str, Path]:
    """Writes the sample set as JSONL files and returns their paths by name.

    Args:
        directory: made if it is missing; files of the same names are replaced.
        seed: as in `generate`.

    Returns:
        `prompts-train`, `prompts-validation`, `prompts-test` (without candidates: those are for
        making demonstrations and judgements), `demonstrations-train`, `demonstrations-validation`
        and `judgements`, each with the path of `NAME.jsonl`; and for a run by a constitution
        `prompts-train-harmful`, `prompts-train-helpful`, `demonstrations-helpful` and
        `demonstrations-helpful-only`.
    """
    made = generate(seed)
    tables: dict[str, Iterable[Mapping[str, Any]]] = {}
    splits: tuple[Split, ...] = ("train", "validation", "test")
    for split in splits:
        tables[f"prompts-{split}"] = [
            {name: value for name, value in row.items() if name != "candidates"}
            for row in made.rows
            if row["split"] == split
        ]
    for split in splits[:2]:
        tables[f"demonstrations-{split}"] = [
            row for row in made.demonstrations if row["split"] == split
        ]
    tables["judgements"] = made.judgements
    trained = tables["prompts-train"]
    tables["prompts-train-harmful"] = [r for r in trained if r["kind"] == "harmful_request"]
    tables["prompts-train-helpful"] = [r for r in trained if r["kind"] in HELPFUL_KINDS]
    shown = tables["demonstrations-train"]
    tables["demonstrations-helpful"] = [r for r in shown if r["kind"] in HELPFUL_KINDS]
    tables["demonstrations-helpful-only"] = helpful_only(made.rows, seed)
    directory.mkdir(parents=True, exist_ok=True)
    paths: dict[str, Path] = {}
    for name, table in tables.items():
        paths[name] = directory / f"{name}.jsonl"
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in table]
        paths[name].write_text("".join(lines), encoding="utf-8", newline="\n")
    return paths
