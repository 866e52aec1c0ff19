"""Aliases that lead to what some steps deployed, or would after a rollback."""

from pathlib import Path

from accord.core.files import hash_path
from accord.promotion.aliases import deploy, roll_back
from accord.reporting.usage import aliases_with
from reporting.fake_run import make_step


def deployed(run: Path, step: str, text: str, *, held: bool = True) -> Path:
    """A step that let a model through, or did not."""
    model = run / f"model-{text}"
    model.mkdir(parents=True)
    (model / "config.json").write_text(text)
    sha256 = hash_path(model)
    file = run / "deployed" / "aliases.json"
    if held:
        deploy(file, "chat", model, sha256=sha256, at="now", run=run / step)
    result = {"alias": "chat", "aliases": "../deployed/aliases.json", "sha256": sha256,
              "deployed": held, "gate": {"held": held, "conditions": []}}  # fmt: skip
    return make_step(run, step, "deploy", 1, result=result)


def test_what_is_live_and_what_a_rollback_would_bring_back(tmp_path: Path) -> None:
    first = deployed(tmp_path, "deploy.old-1", "one")
    second = deployed(tmp_path, "deploy", "two")
    refused = deployed(tmp_path, "other", "three", held=False)
    file = (tmp_path / "deployed" / "aliases.json").resolve()
    assert aliases_with([first]) == {(file, "chat"): False}
    assert aliases_with([first, second]) == {(file, "chat"): True}
    assert aliases_with([refused, make_step(tmp_path, "sft", "sft", 0, result={})]) == {}
    roll_back(file)
    assert aliases_with([first]) == {(file, "chat"): True}
    assert aliases_with([second]) == {}
    file.unlink()
    assert aliases_with([first]) == {}
