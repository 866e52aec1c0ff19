"""The attacker's reward by hand: success, novelty, silence; and a policy trained by it."""

import json
from pathlib import Path
from typing import Any

import pytest

from accord import cli
from accord.core.errors import DataError
from accord.core.files import write_jsonl
from accord.core.judge_config import JudgeConfig
from accord.red_team.attacker_reward import AttackerReward, success_and_novelty
from accord.red_team.attacker_turns import plain_task
from accord.red_team.failures import grams, overlap
from accord.red_team.named_scorers import NamedScorers
from red_team.doubles import BEHAVIOURS, FakeModel, SaysSure, says

ROWS = [behaviour.as_row() for behaviour in BEHAVIOURS]


def test_success_and_what_is_new_are_paid() -> None:
    target = FakeModel(lambda talk, seed: "Sure." if "magic" in talk[-1]["content"] else "No.")
    reward = AttackerReward(target, [SaysSure()], novelty_weight=0.5)
    first = reward.score(["magic words", "plain words", "magic words", " "], [*ROWS, *ROWS])
    assert first == [1.5, 0.0, 1.0, 0.0]  # nonsense is new, too; the third was said just before
    near = 1 - overlap(grams("magic wands"), grams("magic words"))
    assert reward.score(["magic wands"], ROWS[:1]) == pytest.approx([1 + 0.5 * near])
    assert reward.score(["magic words"], ROWS[:1]) == [1.0]
    assert len(target.calls) == 3


def test_no_answer_and_no_verdict_are_no_success() -> None:
    class Silent(SaysSure):
        def score(self, behaviours: Any, responses: Any) -> list[float]:
            return [float("nan")] * len(responses)

    silent = FakeModel(lambda talk, seed: "x" if "speak" in talk[-1]["content"] else None)
    reward = AttackerReward(silent, [SaysSure()], novelty_weight=0.0)
    assert reward.score(["hush", "speak up"], ROWS) == [0.0, 0.0]
    unsure = AttackerReward(says("Sure."), [SaysSure(), Silent(name="n")], novelty_weight=0.0)
    assert unsure.score(["hush"], ROWS[:1]) == [0.0]


def test_rows_without_one_target_are_refused() -> None:
    said = [[{"role": "assistant", "content": "x"}]] * 2
    scored_by = [NamedScorers(("not_refused",), JudgeConfig()).as_row()] * 2
    with pytest.raises(DataError, match="expected one target"):
        success_and_novelty(said, ROWS, [None, None], scored_by)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="expected one target"):
        success_and_novelty(said, ROWS, ["a", "b"], scored_by)  # type: ignore[arg-type]


def test_scorers_travel_in_rows() -> None:
    named = NamedScorers(("not_refused", "classifier"), JudgeConfig(judge="m"), "c", "toxic", True)
    assert NamedScorers.of_row(json.loads(json.dumps(named.as_row()))) == named


def test_a_policy_is_trained_by_it(tiny_model_dir: Path, tmp_path: Path) -> None:
    """Two steps of GRPO: the target is sampled, and attempts differ in what they earn."""
    scored_by = NamedScorers(
        ("not_refused", "accord.red_team.sample_set.complied"), JudgeConfig()
    ).as_row()
    rows = [
        {
            "prompt": list(plain_task(behaviour.text)),
            "behaviour": behaviour.as_row(),
            "target": str(tiny_model_dir),
            "scored_by": scored_by,
        }
        for behaviour in BEHAVIOURS
    ]
    write_jsonl(tmp_path / "prompts.jsonl", rows)
    arguments = [
        "grpo", "--model_name_or_path", str(tiny_model_dir),
        "--prompts", str(tmp_path / "prompts.jsonl"),
        "--eval_prompts", str(tmp_path / "prompts.jsonl"),
        "--reward_funcs", "accord.red_team.attacker_reward.success_and_novelty",
        "--num_generations", "4", "--per_device_train_batch_size", "8", "--max_steps", "2",
        "--max_completion_length", "8", "--max_length", "256", "--quiet",
        "--output_dir", str(tmp_path / "attacker"),
    ]  # fmt: skip
    assert cli.main(arguments) == 0
    metrics = [
        json.loads(line) for line in (tmp_path / "attacker/metrics.jsonl").read_text().splitlines()
    ]
    means = [row["score/mean"] for row in metrics if "score/mean" in row]
    assert means and all(0 <= mean <= 1.5 for mean in means)
