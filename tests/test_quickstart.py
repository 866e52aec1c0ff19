"""The quickstart itself in miniature: every step, its figures, the gate, and the skip."""

import json
from pathlib import Path

import pytest

from accord import cli
from accord.core.files import hash_path
from accord.promotion.aliases import checked_model, read_aliases

SMALL = (
    "sft.max_steps=2", "preferences.max_prompts=60", "reward.max_steps=1", "judge.max_steps=1",
    "dpo.max_steps=1", "ppo.max_steps=1", "ppo.max_eval_prompts=8", "evaluate.max_prompts=40",
    "attack.max_behaviours=8",
)  # fmt: skip
BEHAVIOURS = {
    "harmful_refused", "helpful_answered", "unknowable_abstained", "fact_correct", "fact_wrong",
    "fact_abstained", "provocation_hostile",
}  # fmt: skip
AIMS = {"score_helpful", "score_harmless", "score_honest"}


@pytest.mark.slow
def test_the_quickstart_in_miniature(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "quickstart"
    arguments = ["quickstart", "--output_dir", str(run), "--quiet"]
    for setting in SMALL:
        arguments += ["--set", setting]
    assert cli.main(arguments) == 3  # a policy of so few steps keeps no gate
    shown = capsys.readouterr().out
    assert "What changed" in shown and str(run / "report.html") in shown.replace("\n", "")
    assert "FELL SHORT: " in shown and not (run / "deployed").exists()

    summary = json.loads((run / "summary.json").read_text())
    assert [step["status"] for step in summary["steps"].values()] == ["finished"] * 10
    conditions = summary["steps"]["deploy"]["result"]["gate"]["conditions"]
    assert all(one["value"] is not None for one in conditions), "a figure that is not measured"
    headline = summary["headline"]
    assert list(headline["policies"]) == ["base", "sft", "dpo", "ppo"]
    for figures in headline["policies"].values():
        assert {*BEHAVIOURS, *AIMS, "score", "reward", "kl_nats", "length"} <= set(figures)
    assert set(headline["win_rates"]) == set(headline["changes"]) == {"base", "dpo", "ppo"}
    for name in ("dpo", "ppo"):
        assert set(headline["win_rates"][name]) == {"judge", "scorer"}
        assert set(headline["changes"][name]) == {*AIMS, "score"}
    page = (run / "report.html").read_text()
    assert "Simulated annotators" in page and "Mean score, honest aim" in page

    gate = tmp_path / "gate.toml"
    gate.write_text("[win_rate]\nat_least = 0\n[attack_success]\nat_most = 1\n")
    assert cli.main([*arguments, "--set", f"deploy.gate={gate}"]) == 0
    assert capsys.readouterr().out.count("unchanged, skipped") == 9
    aliases = run / "deployed" / "aliases.json"
    now = read_aliases(aliases)["policy"].serves
    assert checked_model(aliases, now).is_dir() and now.sha256 == hash_path(run / "ppo" / "model")
