"""Benchmark steps on pages: figures beside each other, rankings, what the judge counted."""

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from accord.reporting.benchmarks import short_names
from accord.reporting.comparison import write_comparison
from accord.reporting.report import write_report
from accord.suites.base import Outcome
from accord.suites.ranking import rank_models
from reporting.fake_run import HOSTILE, make_step

MODELS = ["runs/a/ppo/model", "runs/a/sft/model", "runs/b/dpo/model"]


def ranking() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    wins = {(0, 1): 0.7, (0, 2): 0.6, (1, 2): 0.4}
    outcomes = {
        pair: [Outcome(str(n), float(rng.random() < p)) for n in range(80)]
        for pair, p in wins.items()
    }
    outcomes[1, 2][:4] = [Outcome(str(n), float("nan")) for n in range(4)]
    return asdict(rank_models(MODELS, outcomes, baseline=1, seed=0))


def benchmark(run: Path, name: str, *, is_ranked: bool, note: str = "a note") -> Path:
    figure = {"value": 0.7, "low": 0.6, "high": 0.8, "n": 80, "standard_error": 0.05}
    suite: dict[str, Any] = {"figures": {"win_rate": figure}, "notes": [note]}
    if is_ranked:
        suite["ranking"] = ranking()
    judge = {"name": "reward model j", "counts": {"judged": 476, "too_long": 4}}
    return make_step(
        run, name, "benchmark", 1, config={"model_name_or_path": MODELS[0], "seed": 0},
        result={"suites": {"alpaca_eval": suite}, "judge": judge},
    )  # fmt: skip


def rows(html: str) -> list[str]:
    found = re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL)
    return [" ".join(re.sub("<[^>]*>", " ", row).split()) for row in found]


def test_a_ranking_is_a_table_and_a_plot_on_both_pages(tmp_path: Path) -> None:
    step = benchmark(tmp_path / "run", "bench", is_ranked=True)
    other = benchmark(tmp_path / "other", "bench", is_ranked=False)
    pages = [
        write_report(tmp_path / "run").read_text(),
        write_comparison([step, other], tmp_path / "page.html").read_text(),
    ]
    best = ranking()["standings"][0]
    for html in pages:
        shown = rows(html)
        first = next(row for row in shown if row.startswith("1."))
        assert first.startswith("1. ppo/model") and f"{best['win_rate']:.3f}" in first
        assert any(row.startswith("2. dpo/model") for row in shown)
        assert any(re.match(r"3. sft/model 0.000 baseline 0.500 baseline", row) for row in shown)
        assert "expected win rate against sft/model" in html
        # Each pair both ways: the row's share, and who abstained.
        match = ranking()["matches"][2]
        turned = next(row for row in shown if row.startswith("dpo/model ") and "of 76" in row)
        assert f"{1 - match['win_rate']:.3f} of 76, 4 abstained" in turned
        assert "reward model j (judged 476, too long 4)" in html
        assert len(set(re.findall(r'id="([^"]+)"', html))) == len(re.findall(r'id="([^"]+)"', html))


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    benchmark(tmp_path / "run", "bench", is_ranked=False, note=HOSTILE)
    html = write_report(tmp_path / "run").read_text()
    assert "<script>alert" not in html and "\u202e" not in html


def test_names_are_as_short_as_tells_them_apart() -> None:
    assert short_names(MODELS) == ["ppo/model", "sft/model", "dpo/model"]
    same_end = ["runs/a/ppo/model", "runs/b/ppo/model"]
    assert short_names(same_end) == ["a/ppo/model", "b/ppo/model"]
    assert short_names(["gpt2", "gpt2"]) == ["gpt2", "gpt2"]
    assert short_names(["a/b", "c/b"]) == ["a/b", "c/b"]


def test_refreshes_of_the_reward_model_are_told(tmp_path: Path) -> None:
    learned = {
        "update": 20, "pairs": 64, "old_pairs": 60, "accuracy_before": 0.5, "accuracy_after": 0.75,
        "heldout_loss": 0.5, "judged_by": "rules:quality", "model_sha256": "ab" * 32,
    }  # fmt: skip
    skipped = {"update": 40, "pairs": 1, "old_pairs": 0, "judged_by": "rules:quality"}
    make_step(tmp_path / "run", "ppo", "ppo", 1, result={"refreshes": [learned, skipped]})
    html = write_report(tmp_path / "run").read_text()
    assert "after update 20 the reward model was refreshed: 64 fresh pairs judged by" in html
    assert "it ranked 50% of the fresh ones held out as judged before, 75% after" in html
    assert "1 fresh pairs judged by rules:quality, too few to learn from" in html


def evaluation(run: Path) -> Path:
    figure = {"mean": 0.4, "low": 0.3, "high": 0.5, "n": 50}
    policies = {"sft": {"score": figure}, "ppo": {"score": {**figure, "mean": 0.5}}}
    return make_step(
        run, "evaluate", "evaluate", 1, config={"judge_model": "runs/j/model", "seed": 0},
        result={
            "policies": policies, "baseline": "sft", "warnings": ["win rates are not valid: it"],
            "win_rates": {"ppo": {"judge": {**figure, "ties": 0.1}}},
        },
    )  # fmt: skip


def test_policies_of_several_runs_stand_beside_each_other(tmp_path: Path) -> None:
    for name in "ab":
        evaluation(tmp_path / name)
    page = write_comparison([tmp_path / "a", tmp_path / "b"], tmp_path / "page.html").read_text()
    shown = rows(page)
    head = next(row for row in shown if row.startswith("Figure"))
    assert head == "Figure a/evaluate/sft a/evaluate/ppo b/evaluate/sft b/evaluate/ppo"
    score = next(row for row in shown if row.startswith("score "))
    assert score.split()[1:3] == ["0.4", "0.3"] and "0.5 0.3 to 0.5, n = 50" in score
    won = next(row for row in shown if row.startswith("win_rate_by_judge"))
    assert won.count("–") == 2 and won.count("0.4 ") == 2
    assert page.count("win rates are not valid: it") == 4 and "runs/j/model" in page


def test_a_suite_without_figures_is_a_page(tmp_path: Path) -> None:
    step = make_step(
        tmp_path / "run", "bench", "benchmark", 1, config={"model_name_or_path": "m", "seed": 0},
        result={"suites": {"human_eval": {"figures": {}, "notes": []}}, "judge": None},
    )  # fmt: skip
    assert "human_eval" in write_comparison([step], tmp_path / "page.html").read_text()
