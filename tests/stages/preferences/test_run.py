"""Preferences end to end: known votes, no prompt in two files, resume, and bad input."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest

from accord.core.errors import AccordError, ConfigError, DataError, Waiting
from accord.core.files import hash_path, write_jsonl
from accord.core.run_dir import RunDir
from accord.core.types import (
    GeneratedToken,
    GenerationRequest,
    GenerationResult,
    Row,
    Submission,
    Task,
    Verdict,
)
from accord.corpora.encoding import ChatEncoder
from accord.corpora.pairs import load_comparisons, split_by_prompt
from accord.engine import candidates
from accord.engine.local import LocalEngine
from accord.stages.preferences import judging
from accord.stages.preferences import run as stage
from accord.stages.preferences.config import Config
from accord.store.database import Database
from accord.store.judgements import SqlJudgements
from accord.store.queue import SqlTaskQueue
from accord.wiring import preference_store


@dataclass
class Fixed:
    """Always prefers the response that has the most of a letter."""

    name: str
    letter: str
    kind: Literal["simulated"] = "simulated"

    def judge(self, row: Row, response_a: str, response_b: str) -> Verdict:
        gap = response_a.count(self.letter) - response_b.count(self.letter)
        return "tie" if gap == 0 else "a" if gap > 0 else "b"


class Broken(Fixed):
    def judge(self, row: Row, response_a: str, response_b: str) -> Any:
        return row["colour"] if self.letter == "column" else "both"


LIKE_A = [Fixed("one", "a"), Fixed("two", "a"), Fixed("three", "z")]
NEEDS_COLUMN = [Broken("picky", "column")]
SAYS_BOTH = [Broken("vague", "")]
TWINS = [Fixed("one", "a"), Fixed("one", "b")]
NOT_ANNOTATORS = ["Anna"]


def seeded(seed: int) -> list[Fixed]:
    return [Fixed(f"drawn-{seed}", "a")]


class Scripted:
    """Answers the n-th request of its life with `say(n)`; fails after `budget` submissions."""

    def __init__(self, say: Callable[[int], str], budget: int = 1000) -> None:
        self.say, self.budget, self.asked = say, budget, 0
        self.prompts: list[tuple[int, ...]] = []

    def __call__(self, policy: Any, tokenizer: Any, *, max_batch_size: int = 1) -> "Scripted":
        self.encoder = ChatEncoder(tokenizer)
        return self

    def submit(self, requests: Sequence[GenerationRequest]) -> list[Any]:
        if self.budget == 0:
            raise RuntimeError("killed")
        self.budget -= 1
        return [self._answer(request) for request in requests]

    def _answer(self, request: GenerationRequest) -> Any:
        ids = self.encoder.encode_response(self.say(self.asked))
        self.asked += 1
        self.prompts.append(request.prompt_ids)
        tokens = tuple(GeneratedToken(i, -1.0, 0) for i in ids)
        done = GenerationResult(request.prompt_ids, tokens, "stop")
        return type("Done", (), {"result": lambda self: done})()

    def load_weights(self, weights: Any, *, version: int) -> None:
        raise NotImplementedError

    def close(self) -> None:
        pass


def good_and_bad(n: int) -> str:
    return f"aa {n}" if n % 2 else f"b {n}"


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.jsonl"
    write_jsonl(path, [{"prompt": f"user asks {i}", "id": i, "kind": "k"} for i in range(10)])
    return path


def config(model: Path | None, prompts: Path | None, /, **values: Any) -> Config:
    defaults: dict[str, Any] = {"heldout_fraction": 0.2, "judge_fraction": 0.3}
    if model:
        defaults |= {
            "model_name_or_path": str(model),
            "prompts": str(prompts),
            "annotators": f"{__name__}:LIKE_A",
            "max_completion_length": 8,
        }
    return Config.parse({**defaults, **values}, where="test")


def run(config: Config, path: Path, engine: Any = None) -> stage.Result:
    return stage.run(
        config,
        RunDir(path),
        engine_factory=engine or Scripted(good_and_bad),
        store_factory=partial(preference_store, config),
    )


def version_of(model: Path) -> str:
    return f"{model.resolve()}@{hash_path(model)[:12]}"


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def comparisons_of(result: stage.Result) -> list[dict[str, Any]]:
    paths = (result.comparisons, result.heldout_comparisons, result.judge_comparisons)
    return [row for path in paths for row in rows_of(path)]


def test_known_votes(tiny_model_dir: Path, prompts: Path, tmp_path: Path) -> None:
    result = run(config(tiny_model_dir, prompts), tmp_path / "run")
    rows = comparisons_of(result)
    assert len(rows) == result.sampled_pairs == 10
    assert all(row["chosen"][0]["content"].startswith("aa") for row in rows)
    # Two votes of three, and a tie: (2 + 1/2 + 1/2) / 4.
    assert {row["p_chosen"] for row in rows} == {0.75}
    assert result.agreement == pytest.approx(1 / 3)
    assert result.judgement_count == 30 and result.judgements_by_kind == {"simulated": 30}
    assert {(row["kind"], row["votes"]) for row in rows} == {("k", 3)}
    events = rows_of(result.judgements)
    assert len({event["id"] for event in events}) == 30
    assert events[0]["columns"] == {"id": 0, "kind": "k"}
    assert {event["answer"]["verdict"] for event in events[:3]} in ({"a", "tie"}, {"b", "tie"})
    orders = [tuple(event["display_order"]) for event in events]
    assert set(orders) == {(0, 1), (1, 0)}  # what was on the left was drawn
    assert {event["policies"][0] for event in events} == {version_of(tiny_model_dir)}


def test_some_pairs_are_judged_and_say_how_likely_that_was(
    tiny_model_dir: Path, prompts: Path, tmp_path: Path
) -> None:
    result = run(config(tiny_model_dir, prompts, max_judged_pairs=6), tmp_path / "run")
    rows = comparisons_of(result)
    assert (result.sampled_pairs, result.judged_pairs, len(rows)) == (10, 6, 6)
    assert {row["propensity"] for row in rows} == {0.6}
    assert sum(row["chosen_at_random"] for row in rows) == 2


def test_no_prompt_is_in_two_files(tmp_path: Path) -> None:
    pairs = [
        {"prompt": f"ask {i // 2}", "chosen": f"yes {i}", "rejected": "no"} for i in range(4000)
    ]
    write_jsonl(tmp_path / "pairs.jsonl", pairs)
    result = run(config(None, None, dataset_name=[str(tmp_path / "pairs.jsonl")]), tmp_path / "run")
    files = (result.comparisons, result.heldout_comparisons, result.judge_comparisons)
    prompts = [{row["prompt"][0]["content"] for row in rows_of(path)} for path in files]
    assert sum(map(len, prompts)) == len(set.union(*prompts)) == 2000
    assert [len(part) / 2000 for part in prompts] == pytest.approx([0.5, 0.2, 0.3], abs=0.04)
    assert (result.comparison_count, result.heldout_count) == (
        2 * len(prompts[0]),
        2 * len(prompts[1]),
    )
    # Later stages hold out again with the same seed: that share must not be the one taken here.
    left = load_comparisons([str(result.comparisons)])
    _, held = split_by_prompt([c.prompt for c in left], fraction=0.2, seed=0)
    assert len(held) / len(left) == pytest.approx(0.2, abs=0.05)


def test_a_batch_of_the_pool_has_hard_prompts_and_no_used_ones(
    tiny_model_dir: Path, tmp_path: Path
) -> None:
    pool = tmp_path / "pool.jsonl"
    write_jsonl(pool, [{"prompt": f"ask {i}", "edge_case": i % 5 == 0, "red_team": i % 7 == 0}
                       for i in range(40)])  # fmt: skip
    shares = {"max_prompts": 12, "edge_share": 0.3, "red_team_share": 0.2}
    first = run(config(tiny_model_dir, pool, **shares), tmp_path / "first")
    used = [str(first.prompts)]
    second = run(config(tiny_model_dir, pool, used_prompts=used, **shares), tmp_path / "second")
    batches = [rows_of(result.prompts) for result in (first, second)]
    for batch in batches:
        assert sum(row["edge_case"] for row in batch) >= 4  # 0.3 of 12, rounded up
        assert sum(row["red_team"] for row in batch) >= 3
    asked = [row["prompt"][0]["content"] for batch in batches for row in batch]
    assert len(set(asked)) == 24
    with pytest.raises(DataError, match="too few for a batch of 12"):
        used.append(str(second.prompts))
        run(config(tiny_model_dir, pool, **shares, used_prompts=[*used, *used[:1], str(pool)]),
            tmp_path / "third")  # fmt: skip
    with pytest.raises(ConfigError, match="shares are of max_prompts"):
        config(tiny_model_dir, pool, edge_share=0.1)


def test_candidates_that_make_no_pair_are_counted(
    tiny_model_dir: Path, prompts: Path, tmp_path: Path
) -> None:
    # Prompt 0: four different ones, two pairs; prompt 1: all the same; prompt 2: one is empty,
    # one repeated, one pair is left.
    script = ["a 1", "a 2", "a 3", "a 4", "b", "b", "b", "b", " ", "c", "c", "d"]
    result = run(
        config(tiny_model_dir, prompts, num_generations=4, max_prompts=3, heldout_fraction=0,
               judge_fraction=0),
        tmp_path / "run",
        Scripted(script.__getitem__),
    )  # fmt: skip
    assert result.sampled_pairs == 3
    assert result.dropped_identical_candidates == 4
    assert result.dropped_empty_candidates == 1
    assert result.skipped_prompts == 1
    used = [row[side][0]["content"] for row in comparisons_of(result)
            for side in ("chosen", "rejected")]  # fmt: skip
    assert sorted(used) == ["a 1", "a 2", "a 3", "a 4", "c", "d"]


def test_ties_are_kept(tiny_model_dir: Path, prompts: Path, tmp_path: Path) -> None:
    made = config(tiny_model_dir, prompts)
    result = run(made, tmp_path / "run", Scripted(lambda n: f"x {n}"))
    assert result.ties == 10
    assert {row["p_chosen"] for row in comparisons_of(result)} == {0.5}


@pytest.mark.parametrize("engine", ["scripted", "local"])
def test_the_same_seed_gives_the_same_files(
    tiny_model_dir: Path, prompts: Path, tmp_path: Path, engine: str
) -> None:
    factory = {"scripted": lambda: Scripted(good_and_bad), "local": lambda: LocalEngine}[engine]
    hashes = [
        run(config(tiny_model_dir, prompts, seed=seed), tmp_path / name, factory())
        for name, seed in (("one", 1), ("two", 1), ("three", 2))
    ]
    assert hashes[0].comparisons_sha256 == hashes[1].comparisons_sha256
    assert hashes[0].comparisons_sha256 != hashes[2].comparisons_sha256
    assert said(hashes[0]) == said(hashes[1])


def said(result: stage.Result) -> list[dict[str, Any]]:
    """The judgements but for their times."""
    return [{**row, "created_at": None} for row in rows_of(result.judgements)]


def test_a_killed_run_resumes(
    tiny_model_dir: Path, prompts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates, "CHUNK_PROMPTS", 3)
    monkeypatch.setattr(judging, "BATCH_PAIRS", 4)
    made = config(tiny_model_dir, prompts)
    whole = run(made, tmp_path / "whole")

    with pytest.raises(RuntimeError, match="killed"):
        run(made, tmp_path / "cut", Scripted(good_and_bad, budget=2))
    assert len(list((tmp_path / "cut" / "candidates").glob("chunk-*.jsonl"))) == 2
    rest = Scripted(lambda n: good_and_bad(n + 12))  # two chunks of three prompts are there
    with monkeypatch.context() as patch:
        patch.setattr(Fixed, "judge", dies_after(Fixed.judge, calls=17))
        with pytest.raises(RuntimeError, match="killed"):
            run(made, tmp_path / "cut", rest)
    assert rest.asked == 8
    store = preference_store(made, tmp_path / "cut" / stage.OWN_STORE)
    assert len(store.said()) == 12
    with monkeypatch.context() as patch:
        # Nobody is asked again what he has said: 30 judgements less the 12 in the store.
        patch.setattr(Fixed, "judge", dies_after(Fixed.judge, calls=18))
        resumed = run(made, tmp_path / "cut", Scripted(good_and_bad, budget=0))
    assert said(resumed) == said(whole)
    for name in ("comparisons", "heldout_comparisons", "judge_comparisons"):
        assert getattr(resumed, name).read_bytes() == getattr(whole, name).read_bytes()
    assert (tmp_path / "cut/metrics.jsonl").read_bytes() == (
        tmp_path / "whole/metrics.jsonl"
    ).read_bytes()


def dies_after(function: Any, *, calls: int) -> Any:
    count: Iterator[int] = iter(range(calls))

    def wrapped(*arguments: Any) -> Any:
        if next(count, None) is None:
            raise RuntimeError("killed")
        return function(*arguments)

    return wrapped


def judgement(**values: Any) -> dict[str, Any]:
    return {
        "task_id": "t1",
        "annotator": "Anna",
        "annotator_kind": "person",
        "prompt": "Why?",
        "response_a": "Because.",
        "response_b": "No idea.",
        "verdict": "a",
        **values,
    }


def export(tmp_path: Path, rows: Sequence[dict[str, Any]], name: str = "in") -> stage.Result:
    write_jsonl(tmp_path / f"{name}.jsonl", rows)
    made = config(
        None, None, judgements=[str(tmp_path / f"{name}.jsonl")], heldout_fraction=0,
        judge_fraction=0,
    )  # fmt: skip
    return run(made, tmp_path / f"{name}-run")


def test_imported_judgements_meet_in_their_pair(tmp_path: Path) -> None:
    """Berta saw the responses the other way round, and said the same."""
    swapped = {"response_a": "No idea.", "response_b": "Because."}
    result = export(
        tmp_path,
        [
            judgement(language="en", screen=1),
            judgement(annotator="Berta", verdict="b", language="en", screen=2, **swapped),
            judgement(annotator="Carla", verdict="a", language="en", screen=3, **swapped),
            judgement(task_id="t2", prompt="Where?", verdict="b"),
        ],
    )
    first, second = comparisons_of(result)
    assert (first["chosen"][0]["content"], first["p_chosen"], first["votes"]) == (
        "Because.", 2.5 / 4, 3,
    )  # fmt: skip
    assert first["language"] == "en" and "screen" not in first
    assert (second["chosen"][0]["content"], second["p_chosen"]) == ("No idea.", 0.75)
    assert result.agreement == pytest.approx(1 / 3)


def test_imported_comparisons_keep_their_probability(tmp_path: Path) -> None:
    rows = [
        {"prompt": "Why?", "chosen": "A", "rejected": "B"},
        {"prompt": "How?", "chosen": "A", "rejected": "B", "p_chosen": 0.2, "margin": 0.5},
        {"prompt": "Who?", "chosen": "A", "rejected": "B", "p_chosen": 0.9},
        {"prompt": "Who?", "chosen": "B", "rejected": "A", "p_chosen": 0.7},
    ]
    write_jsonl(tmp_path / "pairs.jsonl", rows)
    made = config(
        None, None, dataset_name=[str(tmp_path / "pairs.jsonl")], heldout_fraction=0,
        judge_fraction=0,
    )  # fmt: skip
    result = run(made, tmp_path / "run")
    found = load_comparisons([str(result.comparisons)])
    assert [(c.chosen, c.p_chosen, c.margin) for c in found] == [
        ("A", 1.0, 0.0),
        ("B", 0.8, -0.5),
        ("A", pytest.approx(0.6), 0.0),
    ]
    assert result.judgements_by_kind == {"person": 4}
    assert [event["answer"]["p_a"] for event in rows_of(result.judgements)] == pytest.approx(
        [1.0, 0.2, 0.9, 0.3]
    )


def test_a_pair_twice_in_a_sample_is_one_task(tiny_model_dir: Path, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "p.jsonl", [{"prompt": "the same", "id": i} for i in range(3)])
    made = config(tiny_model_dir, tmp_path / "p.jsonl", heldout_fraction=0, judge_fraction=0)
    texts = ["aa", "b"]
    result = run(made, tmp_path / "run", Scripted(lambda n: texts[n % 2]))
    assert [row["votes"] for row in comparisons_of(result)] == [3]


def judge_all(queue: SqlTaskQueue, name: str) -> None:
    while (lease := queue.lease(name, project="chat")) is not None:
        answer = {"verdict": "a" if lease.task.responses[0].startswith("aa") else "b"}
        queue.submit(lease, Submission(f"{name}-{lease.task.id}", answer))


def test_nobody_is_asked_what_he_has_said_elsewhere(
    tiny_model_dir: Path, prompts: Path, tmp_path: Path
) -> None:
    """A pair that the policy writes was judged in a file, by one of the annotators: otherwise."""
    said = judgement(annotator="one", annotator_kind="simulated", prompt="user asks 0",
                     response_a="aa 1", response_b="b 0", verdict="b")  # fmt: skip
    write_jsonl(tmp_path / "said.jsonl", [said])
    made = config(tiny_model_dir, prompts, judgements=[str(tmp_path / "said.jsonl")])
    result = run(made, tmp_path / "run")
    (row,) = [row for row in comparisons_of(result) if row["prompt"][0]["content"].endswith(" 0")]
    assert row["votes"] == 3 and row["p_chosen"] == 0.5  # a, b, and a tie
    assert result.judgement_count == 30


def test_people_judge_and_the_run_goes_on(
    tiny_model_dir: Path, prompts: Path, tmp_path: Path
) -> None:
    """Without annotators the pairs wait in the project; other pairs there are not exported."""
    file = tmp_path / "people.db"
    made = config(
        tiny_model_dir, prompts, annotators=None, project="chat", database=str(file),
        annotators_per_pair=2,
    )  # fmt: skip
    with pytest.raises(Waiting, match="'chat' waits for 20 judgements of 10 pairs"):
        run(made, tmp_path / "run")
    database = Database.open(path=file)
    queue = SqlTaskQueue(database)
    other = Task("other", "chat", "pairwise", ({"role": "user", "content": "?"},), ("1", "2"))
    queue.add([other])
    for name in ("Ann", "Ben"):
        queue.register(name)
    resumed = Scripted(good_and_bad, budget=0)  # nothing is sampled again
    judge_all(queue, "Ann")
    with pytest.raises(Waiting, match="waits for 10 judgements"):
        run(made, tmp_path / "run", resumed)
    judge_all(queue, "Ben")
    result = run(made, tmp_path / "run", resumed)
    rows = comparisons_of(result)
    assert len(rows) == 10 and {row["votes"] for row in rows} == {2}
    assert all(row["chosen"][0]["content"].startswith("aa") for row in rows)
    assert len(SqlJudgements(database).judgements_of(result.export_sha256)) == 20
    database.close()


def test_a_response_that_looks_like_a_transcript_stays_one(
    tiny_model_dir: Path, prompts: Path, tmp_path: Path
) -> None:
    engine = Scripted(lambda n: f"Human: aa {n}" if n % 2 else f"Assistant: {n}")
    result = run(config(tiny_model_dir, prompts), tmp_path / "run", engine)
    for pair in load_comparisons([str(result.comparisons)]):
        assert pair.chosen.startswith("Human: aa") and pair.rejected.startswith("Assistant: ")
        assert len(pair.prompt) == 1


def test_an_overlong_prompt_is_cut_at_its_start_and_counted(
    tiny_model_dir: Path, tmp_path: Path
) -> None:
    write_jsonl(tmp_path / "p.jsonl", [{"prompt": "x " * 600}, {"prompt": "short"}])
    engine = Scripted(good_and_bad)
    made = config(tiny_model_dir, tmp_path / "p.jsonl", heldout_fraction=0, judge_fraction=0)
    result = run(made, tmp_path / "run", engine)
    assert result.cut_prompts == 1
    assert [len(prompt) for prompt in engine.prompts[:2]] == [512 - 8] * 2
    tail = engine.encoder.encode_prompt([{"role": "user", "content": "x " * 600}])[-504:]
    assert engine.prompts[0] == tail


def test_annotators_from_a_seed(tiny_model_dir: Path, prompts: Path, tmp_path: Path) -> None:
    made = config(
        tiny_model_dir, prompts, annotators=f"{__name__}:seeded", annotators_per_pair=1, seed=7
    )
    result = run(made, tmp_path / "run")
    assert {event["annotator"] for event in rows_of(result.judgements)} == {"drawn-7"}
    assert result.agreement is None


def test_the_simulated_annotators_of_the_sample_set(tiny_model_dir: Path, tmp_path: Path) -> None:
    columns = {"kind": "knowable_fact", "required": [], "answer": "red", "distractors": ["blue"]}
    prompt = "The hat is red, the coat is blue. Which colour is the hat?"
    rows = [{"prompt": f"{prompt} ({i})", "id": f"fact-{i}", **columns} for i in range(40)]
    write_jsonl(tmp_path / "p.jsonl", rows)
    made = config(
        tiny_model_dir,
        tmp_path / "p.jsonl",
        annotators="accord.corpora.sample_set:ANNOTATORS",
        heldout_fraction=0,
        judge_fraction=0,
    )
    texts = ["The hat is red.", "The hat is blue."]
    result = run(made, tmp_path / "run", Scripted(lambda n: texts[n % 2]))
    events = rows_of(result.judgements)
    assert len(events) == 120 and len({event["annotator"] for event in events}) == 5
    rows = comparisons_of(result)
    assert len(rows) == 40 and {row["votes"] for row in rows} == {3}
    right = [row["chosen"][0]["content"] == texts[0] for row in rows]
    assert sum(right) >= 35  # the mean of their error rates is 0.16


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"annotators": f"{__name__}:NOT_ANNOTATORS"}, "'Anna' has no 'name'"),
        ({"annotators": f"{__name__}:TWINS", "annotators_per_pair": 2}, "the same name"),
        ({"annotators_per_pair": 4}, "has 3"),
        ({"annotators": f"{__name__}:NEEDS_COLUMN", "annotators_per_pair": 1}, "column 'colour'"),
        ({"annotators": f"{__name__}:SAYS_BOTH", "annotators_per_pair": 1}, "said 'both'"),
        ({"annotators": "nowhere:at_all"}, "cannot be imported"),
        ({"prompts": "missing.jsonl"}, "no such file"),
        ({"max_completion_length": 600}, "leaves no room"),
        ({"heldout_fraction": 0.5, "judge_fraction": 0.5}, "below 1"),
        ({"annotators": None}, "needs annotators, or a project"),
        ({"prompts": None}, "needs prompts"),
        ({"database": "x.db"}, "name one with project"),
        ({"model_name_or_path": None}, "model_name_or_path too"),
    ],
)
def test_bad_input_is_one_clear_error(
    tiny_model_dir: Path, prompts: Path, tmp_path: Path, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(AccordError, match=message):
        run(config(tiny_model_dir, prompts, **values), tmp_path / "run")


def test_nothing_to_judge_is_refused() -> None:
    with pytest.raises(ConfigError, match="nothing to judge"):
        Config.parse({}, where="test")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"verdict": "left"}, "row 1: verdict must be a, b, tie; got 'left'"),
        ({"annotator_kind": "robot"}, "annotator_kind must be person"),
        ({"response_b": "Because."}, "identical"),
        ({"response_b": "  "}, "response_b is empty"),
        ({"response_a": 3}, "response_a must be text"),
        ({"prompt": None}, "no column 'prompt'"),
    ],
)
def test_a_bad_judgement_is_named(tmp_path: Path, values: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        export(tmp_path, [judgement(**values)])


def test_two_verdicts_of_one_annotator_contradict(tmp_path: Path) -> None:
    assert export(tmp_path, [judgement(), judgement()]).judgement_count == 1
    with pytest.raises(DataError, match="'Anna' said another thing of the same task"):
        export(tmp_path, [judgement(), judgement(verdict="tie")], name="other")
