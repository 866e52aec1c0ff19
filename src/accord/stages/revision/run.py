"""Revision: responses, criticised and rewritten by their own model, by a constitution.

Source: the supervised phase of Bai et al. 2022, arXiv:2212.08073: respond to a harmful prompt, draw
a principle, criticise, revise, and so on for n rounds; then imitate the last revisions together
with plain responses to helpful prompts.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accord.core import files
from accord.core.interfaces import EngineFactory, PreferenceStore, PreferenceStoreFactory
from accord.core.run_dir import RunDir
from accord.core.types import Answered, Message, PromptRow
from accord.corpora.pairs import comparison_row
from accord.corpora.prompts import load_prompts
from accord.judges.clients import client_of
from accord.judges.constitution import Constitution, Principle, draw_principle, read_constitution
from accord.judges.principle_wording import critique_turns, revision_turns
from accord.judges.remembered import Memory, RememberedClient
from accord.stages.revision.asking import Asking
from accord.stages.revision.config import Config
from accord.training.interrupt import stop_on_signal

OWN_STORE = "writings.db"
"""The store of a step that names no project."""
ANSWERS = "answers.jsonl"
"""What the model answered, by content: none of it is asked again."""


@dataclass(frozen=True)
class Result:
    """What the stage leaves.

    `demonstrations` are final revisions, and plain responses to the helpful prompts;
    `comparisons` prefer each final revision to the first response, where they differ; `revisions`
    has every step with its principle. `store` has the same steps as answers to tasks.

    `revised` responses ended in other words, `unchanged` ones in the same; `blank_steps` are
    rounds in which a critique or a revision said nothing and the response stayed as it was;
    `unanswered` prompts had no response, and are left out; a step without an answer is a blank
    one. `principles` says how often each was
    drawn.
    """

    demonstrations: Path
    comparisons: Path
    revisions: Path
    constitution: str
    model: str
    demonstration_count: int
    revised: int
    unchanged: int
    blank_steps: int
    unanswered: int
    repeated_prompts: int
    cut_answers: int
    principles: dict[str, int]
    counts: dict[str, int]
    store: str


@dataclass(frozen=True)
class Step:
    """One round of a response: what the principle found, and what became of it."""

    principle: Principle
    before: str
    critique: str
    revision: str


@dataclass
class Draft:
    """A response on its way; `text` is the latest."""

    row: PromptRow
    response: str
    text: str
    steps: list[Step] = field(default_factory=list)


def run(
    config: Config,
    run_dir: RunDir,
    *,
    engine_factory: EngineFactory,
    store_factory: PreferenceStoreFactory,
) -> Result:
    """Respond, then criticise and revise for `rounds` rounds, all prompts of a step together."""
    constitution = read_constitution(config.constitution)
    harmful, repeated = _distinct(config.prompts, config.max_prompts)
    helpful, again = _distinct(config.helpful_prompts, config.max_helpful_prompts)
    store = store_factory(run_dir.path / OWN_STORE)
    client = client_of(
        config.model_name_or_path,
        engine_factory,
        url=config.url,
        name=config.name,
        key_variable=config.key_variable,
    )
    blank = 0
    with stop_on_signal() as stop:
        memory = Memory(run_dir.path / ANSWERS, stop=stop)
        asking = Asking(RememberedClient(client, memory), seed=config.seed)
        responses = asking.ask(
            "responding",
            [row.prompt for row in (*harmful, *helpful)],
            temperature=config.temperature,
            max_tokens=config.max_completion_length,
        )
        first, plain = responses[: len(harmful)], responses[len(harmful) :]
        drafts = [Draft(row, t, t) for row, t in zip(harmful, first, strict=True) if t]
        shown = [(row, text) for row, text in zip(helpful, plain, strict=True) if text]
        for number in range(config.rounds):
            blank += _revise(drafts, constitution, number, config, asking)
            _keep(drafts, store, constitution, client.name, config)
    result = Result(
        **_write(run_dir, drafts, shown),
        constitution=constitution.label,
        model=client.name,
        demonstration_count=len(drafts) + len(shown),
        revised=sum(draft.text != draft.response for draft in drafts),
        unchanged=sum(draft.text == draft.response for draft in drafts),
        blank_steps=blank,
        unanswered=len(harmful) + len(helpful) - len(drafts) - len(shown),
        repeated_prompts=repeated + again,
        cut_answers=asking.counts["cut"],
        principles=dict(Counter(step.principle.id for d in drafts for step in d.steps)),
        counts=dict(client.counts),
        store=store.location if config.project else OWN_STORE,
    )
    _log_metrics(run_dir, result)
    return result


def _distinct(reference: str | None, most: int) -> tuple[list[PromptRow], int]:
    """The first prompts, each once, and how many repeat an earlier one: they have one answer."""
    rows = load_prompts(reference) if reference else []
    rows = rows[:most] if most >= 0 else rows
    found = {files.hash_json(list(row.prompt)): row for row in reversed(rows)}
    return list(found.values())[::-1], len(rows) - len(found)


def _revise(
    drafts: Sequence[Draft], constitution: Constitution, number: int, config: Config, asking: Asking
) -> int:
    """One round of all drafts; returns how many stayed because something said nothing."""
    drawn = [
        draw_principle(constitution, config.seed, number, list(draft.row.prompt), draft.text)
        for draft in drafts
    ]
    pairs = list(zip(drafts, drawn, strict=True))
    critiques = asking.ask(
        f"criticising, round {number + 1}",
        [critique_turns(constitution, p, d.row.prompt, d.text) for d, p in pairs],
        temperature=config.revision_temperature,
        max_tokens=config.max_critique_length,
    )
    said = [(d, p, text) for (d, p), text in zip(pairs, critiques, strict=True) if text]
    revisions = asking.ask(
        f"revising, round {number + 1}",
        [revision_turns(constitution, p, d.row.prompt, d.text, text) for d, p, text in said],
        temperature=config.revision_temperature,
        max_tokens=config.max_completion_length,
    )
    done = 0
    for (draft, principle, critique), revision in zip(said, revisions, strict=True):
        if revision:
            draft.steps.append(Step(principle, draft.text, critique, revision))
            draft.text = revision
            done += 1
    return len(drafts) - done


def _keep(
    drafts: Sequence[Draft],
    store: PreferenceStore,
    constitution: Constitution,
    model: str,
    config: Config,
) -> None:
    """Every draft's steps as answers to a critique task and a rewrite task."""
    answers: dict[tuple[str, ...], Answered] = {}
    for draft in drafts:
        for step in draft.steps:
            who = _annotator(model, constitution, step.principle, config.seed)
            said = (("critique", step.critique), ("rewrite", step.revision))
            for kind, text in said:
                # A text that came back as it was is asked about once.
                key = (files.hash_json(list(draft.row.prompt)), kind, who, step.before)
                answer = Answered(
                    who,
                    "model",
                    kind,  # type: ignore[arg-type]
                    draft.row.prompt,
                    (step.before,),
                    {"text": text, "response": 0, "reason": f"principle {step.principle.id}"},
                    draft.row.columns,
                )
                answers.setdefault(key, answer)
    store.take_answers(list(answers.values()))


def _annotator(model: str, constitution: Constitution, principle: Principle, seed: int) -> str:
    """Model and wording, as a judge is named; a path is told by its end and its hash."""
    return f"{model[-80:]} ({constitution.label[-60:]}, {principle.id[-40:]}, seed {seed})"


def _write(
    run_dir: RunDir, drafts: Sequence[Draft], shown: Sequence[tuple[PromptRow, str]]
) -> dict[str, Path]:
    finals = [(draft.row, draft.text) for draft in drafts]
    tables: dict[str, list[dict[str, Any]]] = {
        "demonstrations": [
            {
                **row.columns,
                "prompt": list(row.prompt),
                "completion": [Message(role="assistant", content=text)],
            }
            for row, text in (*finals, *shown)
        ],
        "comparisons": [
            comparison_row(
                draft.row.columns,
                draft.row.prompt,
                (draft.text, draft.response),
                1.0,
                task_id=files.hash_json([list(draft.row.prompt), draft.text, draft.response])[:32],
                votes=0,
            )
            for draft in drafts
            if draft.text != draft.response
        ],
        "revisions": [
            {
                **draft.row.columns,
                "prompt": list(draft.row.prompt),
                "response": draft.response,
                "rounds": [
                    {
                        "principle": step.principle.id,
                        "critique": step.critique,
                        "revision": step.revision,
                    }
                    for step in draft.steps
                ],
            }
            for draft in drafts
        ],
    }
    paths = {name: run_dir.path / f"{name}.jsonl" for name in tables}
    for name, rows in tables.items():
        files.write_jsonl(paths[name], rows)
    return paths


def _log_metrics(run_dir: RunDir, result: Result) -> None:
    run_dir.rewind_metrics(0)
    names = ("demonstration_count", "revised", "unchanged", "blank_steps", "unanswered")
    run_dir.log(1, {name: getattr(result, name) for name in names})
