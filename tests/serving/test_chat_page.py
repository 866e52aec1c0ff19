"""The chat page over HTTP: who may see it, what it may load, and a click that becomes a model."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from starlette.testclient import TestClient

from accord.cli import main
from accord.serving.keys import Keys, new_key
from serving.chat_parts import Saying, chat_app, log_of, stored
from serving.served_parts import LOCAL


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def client(tiny_model_dir: Path, store: Path) -> Iterator[TestClient]:
    app = chat_app(tiny_model_dir, store, Saying(), retention_days=30.0)
    with TestClient(app, base_url=LOCAL, raise_server_exceptions=False) as made:
        yield made


def test_the_page_loads_nothing_from_elsewhere(client: TestClient) -> None:
    page = client.get("/")
    assert page.status_code == 200 and page.headers["Content-Type"].startswith("text/html")
    assert "default-src 'none'; script-src 'self'" in page.headers["Content-Security-Policy"]
    assert page.headers["X-Frame-Options"] == "DENY"
    assert "<script>" not in page.text and not re.search(r"\son\w+=|style=|https?://", page.text)
    assert "It is erased after\n30 days." in page.text
    for address in re.findall(r'(?:src|href)="(/[^"]*)"', page.text):
        assert client.get(address).status_code == 200, address
    assert client.post("/").status_code == 405
    assert client.get("/static/../keys.py").status_code == 404


def test_no_script_of_the_page_parses_html() -> None:
    """What a model says reaches the page as text of nodes alone."""
    scripts = Path(__file__).parents[2].glob("src/accord/web/static/chat*.js")
    found = {path.name: path.read_text() for path in scripts}
    assert len(found) == 7
    for name, text in found.items():
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", text), (
            name
        )


def test_where_it_was_not_asked_for_there_is_no_page(tiny_model_dir: Path) -> None:
    from serving.served_parts import client_of

    with client_of({}) as client:
        assert client.get("/").status_code == 404
        assert client.get("/static/chat.js").status_code == 404


def test_with_keys_the_page_is_open_and_what_it_asks_for_is_not(tiny_model_dir: Path) -> None:
    key, line = new_key("ann")
    keys = Keys({line.split()[2]: Keys.read(None, {"ACCORD_API_KEY": key}).who(key)})  # type: ignore[dict-item]
    with TestClient(chat_app(tiny_model_dir, None, Saying(), keys=keys), base_url=LOCAL) as client:
        page = client.get("/")
        assert page.status_code == 200 and 'data-needs-key="yes"' in page.text
        assert "consent" not in page.text  # nothing is kept here
        assert client.get("/static/chat.js").status_code == 200
        assert client.get("/v1/models").status_code == 401
        known = client.get("/v1/models", headers={"Authorization": f"Bearer {key}"}).json()["data"]
        kinds = {model["id"]: model["kind"] for model in known}
        assert kinds == {"red": "policy", "blue": "policy", "house": "alias"}


def test_another_site_erases_nothing(client: TestClient) -> None:
    """A form of its own sends no JSON; a script that would is asked for leave first."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", None):
        headers = {"Origin": "http://evil.example", **({"Content-Type": kind} if kind else {})}
        answer = client.post("/v1/feedback/erase", content='{"user": "ann"}', headers=headers)
        assert answer.status_code == 422, kind
        assert "access-control-allow-origin" not in answer.headers


def test_without_keys_another_sites_name_leads_to_no_page(client: TestClient) -> None:
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 403


@pytest.mark.parametrize(
    "options", [["3"], ["0", "--feedback", "x.db"], ["nan", "--feedback", "x"]]
)
def test_a_retention_is_of_what_is_kept(
    tiny_model_dir: Path, options: list[str], tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["serve", str(tiny_model_dir), "--port", "0", "--retention_days", *options]) == 2
    assert "--retention_days is a number of days" in capsys.readouterr().err


DPO = """
comparisons = ["votes.comparisons"]
eval_comparisons = "votes.comparisons"
"""
KTO = """
dataset_name = ["votes.labels"]
eval_dataset_name = "votes.labels"
"""
SFT = """
dataset_name = ["votes.demonstrations"]
eval_dataset_name = "votes.demonstrations"
"""


def train_on(store: Path, model: Path, run: Path, **inputs: str) -> Path:
    """A run on what stands in the store's project `feedback`, of steps by their stages; gives the
    directory of the last one's model.
    """
    inputs = inputs or {"dpo": DPO}
    config = run.with_suffix(".toml")
    steps = [
        f"""
[[step]]
name = "{stage}"
stage = "{stage}"
max_steps = 1
learning_rate = 1e-3
[step.inputs]
model_name_or_path = "inputs.model"
{named}
"""
        for stage, named in inputs.items()
    ]
    config.write_text(
        f"""
name = "from-clicks"
[inputs]
model = "{model}"
[[step]]
name = "votes"
stage = "preferences"
project = "feedback"
database = "{store}"
heldout_fraction = 0.0
judge_fraction = 0.0
"""
        + "".join(steps)
    )
    assert main(["run", "--config", str(config), "--output_dir", str(run), "--quiet"]) == 0
    return run / list(inputs)[-1] / "model"


def assert_led_back_to_clicks(trained: Path, model: Path, store: Path, capsys: Any) -> None:
    """Weights differ, the lineage names the clicks, and an erasure names the model."""
    before, after = (load_file(path / "model.safetensors") for path in (model, trained))
    assert any((before[name] != after[name]).any() for name in before)
    clicks = stored(store)
    (user,) = {s.annotator for s in clicks}
    capsys.readouterr()
    assert main(["lineage", str(trained), "--judgements"]) == 0
    shown = capsys.readouterr().out
    assert "project feedback" in shown and all(f" {s.id}\n" in shown for s in clicks)
    runs = ["--database", str(store), "--runs", str(trained.parents[2])]
    assert main(["data", "erase", "--annotator", user, *runs, "--yes"]) == 0
    shown = capsys.readouterr().out
    assert str(trained.parent) in shown and "were trained on what is gone" in shown
    with log_of(store) as log:
        standing = log.current("feedback")
        assert log.is_whole()
    assert all(s.answer is None and s.task.responses[0] == "[erased]" for s in standing)
    assert main(["lineage", str(trained)]) == 0
    assert f"{len(clicks)} of them erased since" in capsys.readouterr().out


def test_from_a_vote_to_changed_weights_and_back(
    client: TestClient, store: Path, tiny_model_dir: Path, tmp_path: Path, capsys: Any
) -> None:
    asked: dict[str, Any] = {"messages": [{"role": "user", "content": "Which one?"}]}
    this, other = (
        client.post("/v1/chat/completions", json={**asked, "model": name}).json()["id"]
        for name in ("red", "blue")
    )
    vote = {"response_id": this, "other_id": other, "kind": "vote", "verdict": "this"}
    said = {**vote, "user": "ann", "consent": True, "replaces": True}
    assert client.post("/v1/feedback", json=said).json()["stored"] is True
    trained = train_on(store, tiny_model_dir, tmp_path / "run")
    assert_led_back_to_clicks(trained, tiny_model_dir, store, capsys)


def test_from_thumbs_and_a_correction_to_changed_weights_and_back(
    client: TestClient, store: Path, tiny_model_dir: Path, tmp_path: Path, capsys: Any
) -> None:
    """Nobody has voted: what single answers were said of is enough to train on."""

    def give(text: str, /, **said: Any) -> None:
        asked = {"model": "red", "messages": [{"role": "user", "content": text}]}
        name = client.post("/v1/chat/completions", json=asked).json()["id"]
        said = {"response_id": name, "user": "ann", "consent": True, **said}
        assert client.post("/v1/feedback", json=said).json()["stored"] is True

    give("This one?", kind="thumb", up=True)
    give("Or that?", kind="thumb", up=False)
    give("Which one?", kind="edit", text="That one.")
    run = tmp_path / "run"
    trained = train_on(store, tiny_model_dir, run, kto=KTO, sft=SFT)
    before, after = (
        load_file(path / "model.safetensors") for path in (tiny_model_dir, run / "kto" / "model")
    )
    assert any((before[name] != after[name]).any() for name in before)
    rows = {
        name: [
            json.loads(line) for line in (run / "votes" / f"{name}.jsonl").read_text().splitlines()
        ]
        for name in ("comparisons", "labels", "demonstrations")
    }
    assert rows["comparisons"] == []
    assert {row["prompt"][0]["content"]: row["label"] for row in rows["labels"]} == {
        "This one?": True,
        "Or that?": False,
    }
    (corrected,) = rows["demonstrations"]
    assert corrected["completion"][0]["content"] == "That one."
    assert_led_back_to_clicks(trained, tiny_model_dir, store, capsys)
