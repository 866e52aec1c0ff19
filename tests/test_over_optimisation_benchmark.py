"""The over-optimisation benchmark: second gold scorer, tracks, and all of it in miniature."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks.over_optimisation import recorded
from benchmarks.over_optimisation.__main__ import main
from benchmarks.over_optimisation.quickstart import (
    agreement,
    compare,
    draws,
    follow_policies,
    follow_pools,
    less_best_elsewhere,
)
from benchmarks.over_optimisation.responses import Pool, fresh_rows, refuse_known
from benchmarks.over_optimisation.runs import Quickstart, Settings
from benchmarks.over_optimisation.second_gold import by_examples

from accord.corpora.sample_set import score, write
from accord.corpora.sample_set.generate import make_rows


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Quickstart:
    path = tmp_path_factory.mktemp("run")
    (path / "sample").mkdir()
    for split in ("train", "validation"):
        row = {"prompt": [{"role": "user", "content": f"Of {split}?"}]}
        (path / f"sample/prompts-{split}.jsonl").write_text(json.dumps(row) + "\n")
    return Quickstart(path, 1)


@pytest.fixture(scope="module")
def fresh(quickstart: Quickstart) -> list[dict[str, Any]]:
    return fresh_rows(quickstart, 150)


ROW = {
    "candidates": [
        {"text": "The kettle is in the attic.", "quality": 1.0},
        {"text": "The kettle is in the cellar.", "quality": 0.0},
    ]
}


def test_the_second_gold_is_the_worth_of_the_nearest_example() -> None:
    assert by_examples("The kettle is in the attic.", ROW) == pytest.approx(1.0, abs=0.03)
    assert by_examples("It is in the attic", ROW) > 0.4
    assert by_examples("It is in the cellar", ROW) < 0.1
    assert by_examples("Nobody saw a dog today", ROW) == 0.0
    assert by_examples("", ROW) == 0.0


def test_the_second_gold_agrees_with_the_rules_that_it_never_reads(
    fresh: list[dict[str, Any]],
) -> None:
    """Each candidate is judged by the others alone: with itself it would be a tautology."""
    right = total = 0
    for row in fresh:
        texts = [c["text"] for c in row["candidates"]]
        rules = [score(text, row) for text in texts]
        worth = []
        for text in texts:
            rest = [c for c in row["candidates"] if c["text"] != text]
            worth.append(by_examples(text, {"candidates": rest}))
        for a in range(len(texts)):
            for b in range(a):
                if abs(rules[a] - rules[b]) > 0.3:
                    total += 1
                    right += (rules[a] - rules[b]) * (worth[a] - worth[b]) > 0
    assert total > 500
    assert right / total > 0.6


def pools_of(gold_of: Any, prompts: int, size: int) -> list[Pool]:
    rng = np.random.default_rng(0)
    found = []
    for _ in range(prompts):
        proxy = rng.normal(size=size)
        gold = gold_of(proxy)
        scores = {"mine": proxy, "gold": gold, "second gold": gold}
        found.append(Pool({}, np.ones(size, dtype=int), np.full(size, -30.0), scores))
    return found


def test_a_track_by_the_best_of_n_normal_scores() -> None:
    """Where gold is the proxy, its gain is the known mean of the largest of n normal draws."""
    track = follow_pools("mine", pools_of(lambda x: x, 400, 64))
    assert list(track.at) == draws(64) == [1, 2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64]
    assert track.kl[1] == pytest.approx(math.log(2) - 0.5)
    assert track.gold[1] == pytest.approx(1 / math.sqrt(math.pi), abs=0.02)
    assert track.gold[2] == pytest.approx(1.5 / math.sqrt(math.pi), abs=0.03)
    assert track.proxy == pytest.approx(track.gold, rel=0.05)


def test_a_track_past_its_peak_is_fitted_and_told() -> None:
    track = follow_pools("mine", pools_of(lambda x: -((x - 1) ** 2), 400, 64))
    peak = track.fit.peak**2
    assert track.kl[0] < peak < track.kl[-1]
    assert track.gold[-1] < max(track.gold) - 3 * track.error[-1]
    assert track.explained > 0.9
    assert agreement(pools_of(lambda x: x, 2, 16)) == 1.0


def policies(golds: list[list[float]]) -> dict[str, dict[str, list[float]]]:
    return {
        str(3 * i): {"proxy": [0.0, 1.0 + i, 2.0], "gold": gold, "second gold": gold,
                     "kl_nats": [0.5 * i] * 3}
        for i, gold in enumerate(golds)
    }  # fmt: skip


def test_the_brake_is_compared_with_the_best_checkpoint_by_prompt(tmp_path: Path) -> None:
    figures = policies([[0.2, 0.2, 0.2], [0.5, 0.6, 0.7], [0.1, 0.1, 0.1], [0.0, 0.0, 0.0]])
    (tmp_path / "result.json").write_text(json.dumps({"updates": 9}))
    report = {"step": 6, "back_to_step": 3, "reasons": ["gold_gap: it fell", "length: long"]}
    (tmp_path / "incident-6.json").write_text(json.dumps(report))
    braked = {"braked": policies([[0.4, 0.5, 0.6]])["0"]}
    found = compare(1, tmp_path, figures, braked)
    assert (found.stopped, found.back_to) == (6, 3)
    assert found.reasons == ["gold_gap", "length"]
    assert found.best["gold"] == (3, pytest.approx(0.6))
    assert found.difference["gold"] == pytest.approx((-0.1, -0.1, -0.1))  # the same at each prompt
    assert found.last["gold"] == 0.0
    track = follow_policies(figures)
    assert list(track.at) == [0, 3, 6, 9]
    assert track.gold == pytest.approx([0.0, 0.4, -0.1, -0.2])


def test_the_best_in_hindsight_flatters_itself_and_the_best_elsewhere_does_not() -> None:
    """Fifteen checkpoints that are all worth 0, and a policy that is, too."""
    rng = np.random.default_rng(0)
    hindsight, fair = [], []
    for seed in range(40):
        scores, own = rng.normal(size=(15, 200)), rng.normal(size=200)
        hindsight.append(own.mean() - scores.mean(axis=1).max())
        fair.append(less_best_elsewhere(own, scores, seed=seed).mean())
    error = np.std(fair) / math.sqrt(40)
    assert np.mean(hindsight) < -0.08
    assert abs(np.mean(fair)) < 3 * error < 0.06
    better = np.vstack([scores, own + 1.0])  # where one is better by 1 at every prompt, both say so
    assert less_best_elsewhere(own, better, seed=0) == pytest.approx(-1.0)


def test_recorded_responses_say_what_the_page_says(accord_data: Path) -> None:
    """docs/over-optimisation.md: the naive reward has learnt length, the disentangled has not."""
    text, paths, _ = recorded.measure(accord_data, 0)
    gold = {name: way.gold[-1] for name, way in paths.items()}
    assert gold["naive"] == pytest.approx(0.196, abs=0.005)
    assert gold["length-disentangled"] == pytest.approx(0.105, abs=0.005)
    shown = {row.split(" | ")[0].removeprefix("| "): row for row in text.splitlines()}
    assert "x 2.15" in shown["naive"] and "x 1.18" in shown["length-disentangled"]
    assert "0.693" in shown["longest"]


def test_seeds_are_runs_that_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def accord(arguments: list[str]) -> int:
        asked.append(arguments)
        return 3 if len(asked) < 2 else 1  # a gate that is closed is a run; an error is none

    monkeypatch.setattr("benchmarks.over_optimisation.__main__.accord", accord)
    with pytest.raises(SystemExit, match="quickstart-5: the quickstart failed"):
        main(["quickstart", "--seeds", "4", "5", "--output", str(tmp_path)])
    assert [a[1:5] for a in asked] == [
        ["--seed", seed, "--output_dir", str(tmp_path / f"quickstart-{seed}")] for seed in "45"
    ]


TINY = Settings(updates=6, eval_steps=2, batch=4, probes=4, members=2, fresh=8, pool_prompts=2,
                pool=8, reward_steps=1)  # fmt: skip


@pytest.mark.slow
def test_the_quickstart_part_in_miniature(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = miniature(tmp_path / "run")
    docs = tmp_path / "docs"
    docs.mkdir()
    marks = "".join(f"<!-- {name} -->\n<!-- /{name} -->\n" for name in ("curves", "brake"))
    (docs / "over-optimisation.md").write_text(marks)
    command = ["quickstart", "--runs", str(run), "--output", str(tmp_path / "out")]
    main([*command, "--write", str(docs)], settings=TINY)
    shown = capsys.readouterr().out
    assert "pool 2 of 2" in shown
    page = (docs / "over-optimisation.md").read_text()
    for name in ("naive", "ensemble, worst of 2", "length-disentangled"):
        assert page.count(f"| {name} |") == 2, name
    assert page.count("| 0 | gold |") == page.count("| 0 | second gold |") == 1
    assert (docs / "over-optimisation.svg").stat().st_size > 1000

    main([*command, "--write", str(docs)], settings=TINY)
    assert "pool" not in capsys.readouterr().out.replace("pool's", "")  # nothing is drawn again
    assert (docs / "over-optimisation.md").read_text() == page
    with pytest.raises(SystemExit, match="other settings"):
        main(command, settings=Settings())


def miniature(path: Path) -> Path:
    """What the benchmark reads of a quickstart's run, after hardly any training."""
    from accord.core.assets import resolve_asset
    from accord.core.files import write_jsonl
    from accord.pipeline import execute
    from accord.wiring import stage_config

    write(path / "sample")
    rows = [row for row in make_rows(0) if row["split"] == "train"][:24]
    pairs = [
        {"prompt": row["prompt"], "chosen": row["candidates"][0]["text"],
         "rejected": row["candidates"][-1]["text"]}
        for row in rows
    ]  # fmt: skip
    (path / "preferences").mkdir()
    for name in ("comparisons", "heldout_comparisons"):
        write_jsonl(path / f"preferences/{name}.jsonl", pairs)
    (path / "sft").mkdir()
    (path / "sft/config.toml").write_text("seed = 0\n")
    (path / "sft/model").symlink_to(resolve_asset("accord:base"), target_is_directory=True)
    fields = {
        "model_name_or_path": str(path / "sft/model"),
        "comparisons": [str(path / "preferences/comparisons.jsonl")],
        "max_steps": 1,
        "max_length": 160,
    }
    execute("reward", stage_config("reward").parse(fields, where="test"), path / "reward")
    return path


def test_fresh_prompts_are_not_the_run_s_own(
    quickstart: Quickstart, fresh: list[dict[str, Any]]
) -> None:
    assert len(fresh) == 150
    assert all(row["candidates"] and row["split"] == "test" for row in fresh)
    with Path(quickstart.prompts("validation")).open("a") as file:
        file.write(json.dumps({"prompt": fresh[7]["prompt"]}) + "\n")
    with pytest.raises(ValueError, match="no fresh prompt"):
        refuse_known(fresh, quickstart)
