"""Pairs in, judgements in the store, comparisons out: by endpoints that say what they are told."""

import json
import math
import shutil
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from accord.core.errors import AccordError, ConfigError, DataError, Interrupted, Waiting
from accord.core.files import write_jsonl
from accord.core.run_dir import RunDir
from accord.core.types import Message, Submission, Task
from accord.corpora.pairs import load_comparisons
from accord.engine.local import LocalEngine
from accord.pipeline import execute
from accord.stages.ai_feedback import people
from accord.stages.ai_feedback import run as stage
from accord.stages.ai_feedback.config import Config
from accord.store.database import Database
from accord.store.judgements import SqlJudgements, Standing
from accord.store.queue import SqlTaskQueue
from accord.wiring import preference_store
from judges.fake_endpoint import FakeEndpoint, Raw, completion

Says = Callable[[str, str, str], Raw]


def sections(question: str) -> dict[str, str]:
    """What stands between the fences."""
    fence = question.split("The word is ")[1].split(".")[0]
    parts = question.split(f"{fence} ")[1:]
    return {part.split("\n")[0]: part.split("\n", 1)[-1].rstrip("\n") for part in parts}


class Endpoint(FakeEndpoint):
    """Answers by the texts of the prompt and of what is shown first and second."""

    def __init__(self, says: Says) -> None:
        def answer(request: dict[str, Any], _: int) -> Raw:
            shown = sections(request["messages"][0]["content"])
            prompt = shown["Conversation"].removeprefix("user: ")
            return says(prompt, shown.get("Response A", ""), shown.get("Response B", ""))

        super().__init__(answer)


def soft(p: float) -> Raw:
    return completion("A", top={"A": math.log(p), "B": math.log(1 - p)})


def longer(prompt: str, a: str, b: str) -> Raw:
    """Three to one for the longer, and a little for what is shown first."""
    return soft(0.8 if len(a) > len(b) else 0.3)


def always_a(prompt: str, a: str, b: str) -> Raw:
    return completion("A")


@pytest.fixture
def pairs(tmp_path: Path) -> str:
    """Forty pairs; the longer response is the one that the file has first."""
    path = tmp_path / "pairs.jsonl"
    rows = [
        {"prompt": f"q{n}", "chosen": f"a longer answer {n}", "rejected": f"short {n}", "id": n}
        for n in range(40)
    ]
    write_jsonl(path, rows)
    return str(path)


def config(endpoint: FakeEndpoint | None, **values: Any) -> Config:
    url = {} if endpoint is None else {"judge_url": endpoint.url, "judge_name": "judge-1"}
    return Config.parse({**url, "heldout_fraction": 0.2, **values}, where="test")


def run(config: Config, path: Path) -> stage.Result:
    return stage.run(
        config,
        RunDir(path),
        engine_factory=LocalEngine,
        store_factory=partial(preference_store, config),
    )


def standing(path: Path, project: str = "preferences") -> list[Standing]:
    database = Database.open(path=path)
    found = SqlJudgements(database).current(project)
    database.close()
    return found


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_probabilities_are_averaged_stored_and_exported(tmp_path: Path, pairs: str) -> None:
    with Endpoint(longer) as endpoint:
        result = run(config(endpoint, dataset_name=pairs, judge_price_in=1e6), tmp_path / "r")
    assert len(endpoint.requests) == 80
    rows = load_comparisons([str(result.comparisons), str(result.heldout_comparisons)])
    assert len(rows) == 40 == result.comparison_count + result.heldout_count
    assert 0 < result.heldout_count < 20
    assert all(row.chosen.startswith("a longer") for row in rows)
    assert {round(row.p_chosen, 9) for row in rows} == {0.75}  # (0.8 + 1 - 0.3) / 2
    assert {row.columns["id"] for row in rows} == set(range(40))
    said = standing(tmp_path / "r" / "judgements.db")
    assert {(s.annotator, s.annotator_kind) for s in said} == {(result.judge, "model")}
    assert all("reason" not in (s.answer or {}) for s in said)
    assert result.opinions == {
        "pairs": 40, "abstained": 0, "inconsistent": 0, "consistency": 1.0, "first_share": 0.5,
        "longer_share": 1.0,
    }  # fmt: skip
    assert result.spent == {"prompt_tokens": 800, "completion_tokens": 160, "price": 800.0}
    assert result.judgements_by_kind == {"model": 40}


def test_always_the_first_is_a_tie_that_is_called_inconsistent(tmp_path: Path, pairs: str) -> None:
    with Endpoint(always_a) as endpoint:
        result = run(config(endpoint, dataset_name=pairs), tmp_path / "r")
    assert result.opinions["inconsistent"] == 40
    assert result.opinions["first_share"] == 1.0 and result.opinions["consistency"] == 0.0
    assert {row["p_chosen"] for row in rows_of(result.comparisons)} == {0.5}
    (answer,) = {json.dumps(s.answer) for s in standing(tmp_path / "r" / "judgements.db")}
    assert json.loads(answer)["verdict"] == "tie" and "inconsistent" in json.loads(answer)["reason"]


def test_who_says_nothing_abstains_and_is_counted(tmp_path: Path, pairs: str) -> None:
    def says(prompt: str, a: str, b: str) -> Raw:
        return completion("Hm.") if prompt in ("q1", "q2") else longer(prompt, a, b)

    with Endpoint(says) as endpoint:
        result = run(config(endpoint, dataset_name=pairs), tmp_path / "r")
    assert result.opinions["abstained"] == 2 and result.counts["abstained"] == 4
    assert result.comparison_count + result.heldout_count == 38


def test_an_endpoint_that_breaks_off_is_not_paid_twice(tmp_path: Path, pairs: str) -> None:
    broken = [True]

    def answer(request: dict[str, Any], number: int) -> Raw:
        if broken[0] and number >= 40:
            return Raw(status=400)  # refused: not tried again
        shown = sections(request["messages"][0]["content"])
        return longer("", shown["Response A"], shown["Response B"])

    def failing(request: dict[str, Any], number: int) -> Raw:
        found = answer(request, number)
        return Raw(body=b"no json") if found.status == 400 else found

    with FakeEndpoint(failing) as endpoint:
        wanted = config(endpoint, dataset_name=pairs)
        with pytest.raises(AccordError, match="run again when it is back"):
            run(wanted, tmp_path / "r")
        paid = len(endpoint.requests)
        broken[0] = False
        result = run(wanted, tmp_path / "r")
    assert result.comparison_count + result.heldout_count == 40
    asked = [json.dumps(request) for request in endpoint.requests]
    answered = asked[:40] + asked[paid:]
    assert len(set(answered)) == len(answered) == 80


def test_ctrl_c_is_heard_within_a_batch(tmp_path: Path, pairs: str) -> None:
    def answer(request: dict[str, Any], number: int) -> Raw:
        if number == 20:
            signal.raise_signal(signal.SIGINT)
        shown = sections(request["messages"][0]["content"])
        return longer("", shown["Response A"], shown["Response B"])

    with FakeEndpoint(answer) as endpoint:
        wanted = config(endpoint, dataset_name=pairs)
        with pytest.raises(Interrupted, match="nothing is asked twice"):
            run(wanted, tmp_path / "r")
        assert 20 < len(endpoint.requests) < 40
        result = run(wanted, tmp_path / "r")
    assert result.comparison_count + result.heldout_count == 40
    assert len({json.dumps(request) for request in endpoint.requests}) == 80
    assert len(endpoint.requests) == 80


def judged_by_people(path: Path, right: Callable[[int], bool], count: int = 40) -> str:
    rows = [
        {
            "annotator": "Ann",
            "annotator_kind": "person",
            "prompt": f"q{n}",
            "response_a": f"a longer answer {n}",
            "response_b": f"short {n}",
            "verdict": "a" if right(n) else "b",
        }
        for n in range(count)
    ]
    write_jsonl(path, rows)
    return str(path)


def test_a_slice_of_people_calibrates(tmp_path: Path, pairs: str) -> None:
    """The judge is sure (0.95) and right in three of four: about 0.75 is left of it."""

    def says(prompt: str, a: str, b: str) -> Raw:
        return soft(0.95 if len(a) > len(b) else 0.05)

    people = judged_by_people(tmp_path / "people.jsonl", lambda n: n % 4 > 0, 20)
    values = {"dataset_name": pairs, "human_judgements": people, "calibration": "temperature"}
    with Endpoint(says) as endpoint:
        result = run(config(endpoint, **values), tmp_path / "r")
    rows = rows_of(result.comparisons) + rows_of(result.heldout_comparisons)
    by_judge = [row["p_chosen"] for row in rows if int(row["id"]) >= 20]
    assert len(by_judge) == 20 and all(0.65 < p < 0.85 for p in by_judge)
    assert result.calibration is not None
    assert result.calibration["pairs"] == 20
    assert result.calibration["error"] == pytest.approx(0.2, abs=1e-6)
    assert result.calibration["error_calibrated"] < 0.15
    assert result.agreement == {"share": 0.75, "pairs": 20}
    # what people judged, they alone decide; the judge's opinion stays in the store
    chosen = {r["id"]: r["chosen"][0]["content"] for r in rows if int(r["id"]) < 20}
    assert all(text.startswith("short") == (n % 4 == 0) for n, text in chosen.items())
    assert result.judgements_by_kind == {"model": 20, "person": 20}
    assert len(standing(tmp_path / "r" / "judgements.db")) == 60
    raw = {(s.answer or {}).get("p_a") for s in standing(tmp_path / "r" / "judgements.db")}
    assert len(raw) == 3  # None of people; 0.95 and 0.05 by the order of the task


def test_too_few_people_cannot_calibrate(tmp_path: Path, pairs: str) -> None:
    people = judged_by_people(tmp_path / "people.jsonl", lambda n: True, 3)
    values = {"dataset_name": pairs, "human_judgements": people, "calibration": "isotonic"}
    with Endpoint(longer) as endpoint, pytest.raises(DataError, match="5 prompts"):
        run(config(endpoint, **values), tmp_path / "r")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Path]:
    """A project with six pairs that wait for one person each."""
    path = tmp_path / "store.db"
    database = Database.open(path=path)
    queue = SqlTaskQueue(database)
    queue.register("Ann")
    for n in range(6):
        prompt = (Message(role="user", content=f"q{n}"),)
        texts = (f"a longer answer {n}", f"short {n}")
        queue.add([Task(f"t{n}", "p", "pairwise", prompt, texts)])
    yield path
    database.close()


def answer_all(path: Path, verdict: str) -> int:
    database = Database.open(path=path)
    queue, count = SqlTaskQueue(database), 0
    queue.register("Ann")
    while (lease := queue.lease("Ann", project="p")) is not None:
        queue.submit(lease, Submission(f"Ann-{lease.task.id}", {"verdict": verdict}))
        count += 1
    database.close()
    return count


def unsure_of_two(prompt: str, a: str, b: str) -> Raw:
    p = 0.55 if prompt in ("q1", "q4") else 0.9
    return soft(p if len(a) > len(b) else 1 - p)


def test_doubtful_pairs_wait_for_people(tmp_path: Path, store: Path) -> None:
    values = {
        "project": "p", "database": str(store), "tasks": "unjudged", "people_pairs": 3,
        "heldout_fraction": 0.0,
    }  # fmt: skip
    with Endpoint(unsure_of_two) as endpoint:
        wanted = config(endpoint, **values)
        for _ in range(2):
            with pytest.raises(Waiting, match="waits for 2 judgements of 2 pairs"):
                run(wanted, tmp_path / "r")
        assert len(standing(store, "p")) == 4
        assert answer_all(store, "b") == 2
        result = run(wanted, tmp_path / "r")
    assert len(endpoint.requests) == 12
    assert result.routed == {"unsure": 2}
    chosen = {row["prompt"][0]["content"]: row for row in rows_of(result.comparisons)}
    assert len(chosen) == 6
    by_people = [q for q, row in chosen.items() if row["chosen"][0]["content"].startswith("short")]
    assert sorted(by_people) == ["q1", "q4"]
    assert chosen["q0"]["p_chosen"] == pytest.approx(0.9)
    assert len(standing(store, "p")) == 8  # the judge's opinions of all six are there
    assert result.store != stage.OWN_STORE


def test_the_budget_is_kept_and_the_rest_stays_with_the_judge(tmp_path: Path, store: Path) -> None:
    values = {"project": "p", "database": str(store), "tasks": "all", "people_share": 0.17}
    with Endpoint(unsure_of_two) as endpoint, pytest.raises(Waiting, match="of 1 pairs"):
        run(config(endpoint, **values), tmp_path / "r")


def test_what_people_have_judged_is_not_asked_again(tmp_path: Path, store: Path) -> None:
    """Ann has done the first two, and one of them is one of two of which the judge is unsure."""
    database = Database.open(path=store)
    queue = SqlTaskQueue(database)
    for _ in range(2):
        lease = queue.lease("Ann", project="p")
        assert lease is not None and lease.task.id in ("t0", "t1")
        queue.submit(lease, Submission(f"k-{lease.task.id}", {"verdict": "b"}))
    database.close()
    values = {"project": "p", "database": str(store), "tasks": "all", "people_pairs": 2}
    with Endpoint(unsure_of_two) as endpoint, pytest.raises(Waiting, match="of 1 pairs"):
        run(config(endpoint, **values), tmp_path / "r")
    assert set(json.loads((tmp_path / "r" / "routed.json").read_text())) == {"t4"}


def test_a_reward_ensemble_contradicts(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two members, who see q3 the other way round than the judge."""

    class Models:
        def __init__(self, name: str, **_: Any) -> None:
            self.scale = {"up": 3.0, "steep": 9.0}[name]

        def read(self, prompts: Any, responses: Any, **_: Any) -> Any:
            signs = [-1.0 if p[0]["content"] == "q3" else 1.0 for p in prompts]
            long = [float("longer" in text) for text in responses]
            members = [[self.scale * s * x] for s, x in zip(signs, long, strict=True)]
            return type("Read", (), {"members": torch.tensor(members)})

    monkeypatch.setattr(people, "LearnedReward", Models)
    values = {
        "project": "p", "database": str(store), "tasks": "all", "people_share": 0.5,
        "reward_ensemble": ["up", "steep"],
    }  # fmt: skip
    with Endpoint(unsure_of_two) as endpoint, pytest.raises(Waiting, match="of 3 pairs"):
        run(config(endpoint, **values), tmp_path / "r")
    routed = json.loads((tmp_path / "r" / "routed.json").read_text())
    reasons = {name: why["reason"] for name, why in routed.items()}
    assert reasons == {"t1": "unsure", "t4": "unsure", "t3": "disagrees"}


def test_only_what_nobody_judged(tmp_path: Path, store: Path) -> None:
    database = Database.open(path=store)
    queue = SqlTaskQueue(database)
    lease = queue.lease("Ann", project="p")
    assert lease is not None
    queue.submit(lease, Submission("k", {"verdict": "a"}))
    database.close()
    values = {"project": "p", "database": str(store), "heldout_fraction": 0.0}
    with Endpoint(longer) as endpoint:
        first = run(config(endpoint, **values, tasks="unjudged"), tmp_path / "r")
        second = run(config(endpoint, **values, tasks="all"), tmp_path / "s")
    assert (first.comparison_count, second.comparison_count) == (5, 6)
    assert first.judgements_by_kind == {"model": 5}
    assert second.agreement == {"share": 1.0, "pairs": 1}


def test_rankings_are_stored_as_peoples_are(tmp_path: Path) -> None:
    path = tmp_path / "ranked.jsonl"
    texts = ["x", "xxx", "xx"]
    write_jsonl(path, [{"prompt": f"q{n}", "responses": texts} for n in range(10)])

    def answer(request: dict[str, Any], _: int) -> Raw:
        shown = sections(request["messages"][0]["content"])
        letters = [title[-1] for title in shown if title.startswith("Response")]
        ordered = sorted(letters, key=lambda c: -len(shown[f"Response {c}"]))
        return completion(" > ".join(ordered))

    with FakeEndpoint(answer) as endpoint:
        wanted = config(endpoint, dataset_name=str(path), compare="ranking")
        result = run(wanted, tmp_path / "r")
    rows = load_comparisons([str(result.comparisons)])
    assert len(rows) == 3 * result.comparison_count
    assert all(len(row.chosen) > len(row.rejected) for row in rows)
    assert all(row.ranking for row in rows)
    assert result.opinions == {"rankings": 10, "abstained": 0}
    assert {s.task.kind for s in standing(tmp_path / "r" / "judgements.db")} == {"ranking"}


def test_aspects_are_stored_one_by_one(tmp_path: Path, pairs: str) -> None:
    def answer(request: dict[str, Any], _: int) -> Raw:
        question = request["messages"][0]["content"]
        is_long = "longer" in sections(question)["Response"]
        if "Grade clarity" in question:
            return completion("6" if is_long else "3")
        return completion("2" if is_long else "4")

    with FakeEndpoint(answer) as endpoint:
        values = {"judge_aspects": {"clarity": 3.0, "brevity": 1.0}, "max_judged": 4}
        result = run(config(endpoint, dataset_name=pairs, **values), tmp_path / "r")
    rows = rows_of(result.comparisons) + rows_of(result.heldout_comparisons)
    assert [row["p_chosen"] for row in rows] == pytest.approx([1 / (1 + math.exp(-1.75))] * 4)
    said = standing(tmp_path / "r" / "judgements.db")
    rated = [s for s in said if s.task.kind == "likert"]
    assert len(rated) == 4 and len(said) == 8
    for s in rated:
        place = [text.startswith("a longer") for text in s.task.responses].index(True)
        ratings = (s.answer or {})["ratings"]
        assert ratings["clarity"][place] == 6 and ratings["brevity"][1 - place] == 4


def test_a_local_judge_on_sampled_pairs_through_the_pipeline(
    tmp_path: Path, tiny_model_dir: Path
) -> None:
    """The whole way, and the manifest tells what was spent; a second start does nothing."""
    judge = shutil.copytree(tiny_model_dir, tmp_path / "judge")  # with room for its questions
    described = json.loads((judge / "config.json").read_text())
    (judge / "config.json").write_text(json.dumps({**described, "max_position_embeddings": 8192}))
    prompts = tmp_path / "prompts.jsonl"
    write_jsonl(prompts, [{"prompt": f"user asks {n}"} for n in range(6)])
    values = {
        "judge": str(judge),
        "model_name_or_path": str(tiny_model_dir),
        "prompts": str(prompts),
        "max_completion_length": 6,
        "temperature": 3.0,
        "heldout_fraction": 0.0,
    }
    wanted = Config.parse(values, where="test")
    outcome = execute("judge", wanted, tmp_path / "r")
    assert outcome.result["comparison_count"] == 6
    assert all(0.5 < r["p_chosen"] < 1 for r in rows_of(tmp_path / "r" / "comparisons.jsonl"))
    assert "pair-with-examples" in outcome.result["judge"] and "@" in outcome.result["judge"]
    manifest = json.loads((tmp_path / "r" / "manifest.json").read_text())
    assert manifest["spent"] == {"prompt_tokens": 0, "completion_tokens": 0, "price": 0.0}
    assert execute("judge", wanted, tmp_path / "r").was_skipped


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"dataset_name": "x"}, "nobody judges"),
        ({"judge": "j"}, "nothing to judge"),
        ({"judge": "j", "tasks": "all"}, "give project"),
        ({"judge": "j", "dataset_name": "x", "people_share": 0.1}, "give project"),
        ({"judge": "j", "dataset_name": "x", "reward_ensemble": ["r"]}, "left to people"),
        ({"judge": "j", "dataset_name": "x", "prompts": "p"}, "for sampling"),
        ({"judge": "j", "dataset_name": "x", "judge_votes": 3}, "for judge_url"),
        (
            {"judge": "j", "dataset_name": "x", "compare": "ranking", "judge_thinks": True},
            "not for rankings",
        ),
        (
            {"judge": "j", "dataset_name": "x", "compare": "ranking", "calibration": "isotonic"},
            "compare pairs",
        ),
        (
            {
                "judge": "j", "dataset_name": "x", "project": "p", "people_share": 0.1,
                "people_pairs": 3,
            },
            "one budget",
        ),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Config.parse(values, where="test")


def test_a_file_without_responses_names_its_row(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "p.jsonl", [{"prompt": "q", "response_a": "x"}])
    with Endpoint(longer) as endpoint, pytest.raises(DataError, match="row 1"):
        run(config(endpoint, dataset_name=str(tmp_path / "p.jsonl")), tmp_path / "r")
