import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from accord.core.errors import AccordError, CheckpointError
from accord.promotion.gate import Finding, verdict
from accord.reporting.page import visible
from accord.reporting.report import render, write_report
from accord.reporting.rounds import round_rows
from accord.reporting.run_files import read_run, summary
from reporting.fake_run import HOSTILE, STATEMENT, make_run, make_step


class Page(HTMLParser):
    """Tags, attributes and text of a page; fails on unbalanced tags."""

    VOID = frozenset({"meta", "br", "img", "path", "rect", "use", "link"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[Any]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[Any]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open and self.open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def run_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = make_run(tmp_path_factory.mktemp("runs"))
    write_report(path)
    return path


@pytest.fixture
def html(run_path: Path) -> str:
    return (run_path / "report.html").read_text("utf-8")


def test_page_stands_alone(html: str) -> None:
    page = Page(html)
    assert not {"script", "link", "img", "iframe", "object", "base"} & set(page.tags)
    for name, value in page.attributes:
        assert not name.startswith("on")
        if name in {"src", "href", "xlink:href", "action"}:
            assert value.startswith("#"), f"{name}={value}"
    assert not re.search(r"@import|url\((?!#)", html)
    assert ("http-equiv", "Content-Security-Policy") in page.attributes


def test_ids_are_unique_and_links_lead_to_them(html: str) -> None:
    attributes = Page(html).attributes
    ids = [value for name, value in attributes if name == "id"]
    assert len(ids) == len(set(ids))
    targets = {value[1:] for name, value in attributes if name in {"href", "xlink:href"}}
    targets |= set(re.findall(r"url\(#([^)]+)\)", html))
    assert targets <= set(ids)


def test_hostile_text_is_shown_and_not_run(html: str) -> None:
    assert "<script" not in html and "onerror=alert(1)&gt;" in html
    assert "\u202e" not in html and "\x1b" not in html and "\u200b" not in html
    for name in ("U+202E", "U+001B", "U+200B"):
        assert f'<span class="control">{name}</span>' in html
    assert '<script>alert("owned")</script>' in Page(html).text


def test_visible_keeps_text_and_names_what_cannot_be_seen() -> None:
    assert visible("a\n\tb é 日本") == "a\n\tb é 日本"
    assert visible("\r\ud800") == (
        '<span class="control">U+000D</span><span class="control">U+D800</span>'
    )
    assert "<" not in visible(HOSTILE.partition("&")[0])


def test_hostile_names_are_escaped_in_tables_plots_and_drawing(tmp_path: Path) -> None:
    run_path = make_run(tmp_path)
    evaluate = run_path / "evaluate"
    text = (evaluate / "result.json").read_text().replace('"dpo"', '"<b>$x$&\\u0007"')
    (evaluate / "result.json").write_text(text)
    manifest = (run_path / "sft" / "manifest.json").read_text()
    manifest = manifest.replace("models/accord-base", "m/<script>1</script>")
    (run_path / "sft" / "manifest.json").write_text(manifest)
    html = render(read_run(run_path))
    assert "<b>" not in html and "<script" not in html and "\x07" not in html
    assert html.count("&lt;b&gt;$x$&amp;") > 3
    Page(html)


def test_equal_files_give_equal_bytes(run_path: Path, html: str) -> None:
    assert write_report(run_path) == run_path / "report.html"
    assert (run_path / "report.html").read_text("utf-8") == html


def test_every_part_is_there(html: str) -> None:
    text = Page(html).text
    for expected in (
        STATEMENT,
        "Helpful requests answered",
        "Win rate against sft",
        "dpo against sft: wins by the judge model (70.0%, 67.9% to 72.1%)",
        "Reward against KL",
        "dpo, evaluated",
        "update 40",
        "Entropy",
        "I don't know. You have not told me where Mara left it.",
        "sample.demonstrations_train",
        "12 rows were too long and were cut at the prompt's start",
        "41 sampled responses were identical to another",
        "stopped when its held-out KL passed the budget",
        "nonfinite-12.pt",
        "disagree by up to 3.0e-04 nats",
        "2 of 40 updates ended early",
    ):
        assert expected in text, expected
    # The base model lies 41 nats away and would squeeze the plot.
    assert "base, evaluated" not in text


def test_gates_are_shown_condition_by_condition(run_path: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(run_path, run)
    kept = Finding("win_rate.judge", "evaluate", "at_least", 0.5, "interval", 0.72, True, "lower")
    why = f"nobody measured {HOSTILE}"
    findings = [kept, Finding(HOSTILE, None, "at_most", 0.1, "interval", None, False, why)]
    result = {"alias": "chat", "aliases": "../a", "sha256": "ab" * 32, "deployed": False}
    make_step(run, "deploy", "deploy", 10, result={**result, "gate": verdict(findings)})
    page = Page(render(read_run(run)))
    text = " ".join(page.text.split("Gates")[2].split())
    assert "1 of 2 conditions held. The model abababababab was refused; the alias chat" in text
    assert "win_rate.judge yes at least 0.5 0.72 lower evaluate" in text
    assert "script" not in page.tags and "nobody measured" in text
    summary_of = summary(read_run(run))["steps"]["deploy"]["result"]["gate"]
    assert [one["held"] for one in summary_of["conditions"]] == [True, False]


def test_incidents_are_shown(run_path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run_path, copy)
    found = {
        "step": 40, "back_to_step": 10, "reasons": ["echo: 30% of a prompt comes back"],
        "readings": [{"name": "echo", "value": 0.3, "z": None, "level": "stop", "reason": "",
                      "offending": [3]}],
        "samples": [{"index": 3, "prompt": "Where is it?", "response": HOSTILE, "score": 2.0,
                     "gold": None, "monitors": ["echo"]}],
    }  # fmt: skip
    (copy / "ppo" / "incident-40.json").write_text(json.dumps(found))
    page = Page(render(read_run(copy)))
    for expected in (
        "Incidents (1)",
        "ppo, update 40",
        "back to update 10",
        "echo: 30% of a prompt",
        "response 3",
    ):
        assert expected in page.text, expected
    assert "script" not in page.tags
    assert "Incidents" not in Page(render(read_run(run_path))).text
    (copy / "ppo" / "incident-40.json").write_text("[]")
    with pytest.raises(CheckpointError, match="incident-40.json: expected a JSON object"):
        render(read_run(copy))


@pytest.mark.parametrize(
    ("missing", "absent"),
    [
        ("evaluate", ['id="results"', 'id="samples"']),
        ("ppo", ["during training"]),
        ("sample", ["Simulated annotators"]),
        ("reward", []),
    ],
)
def test_missing_steps_leave_out_their_part(
    run_path: Path, tmp_path: Path, missing: str, absent: list[str]
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run_path, copy)
    shutil.rmtree(copy / missing)
    html = render(read_run(copy))
    Page(html)
    for text in absent:
        assert text not in html


def test_run_of_one_unfinished_step(tmp_path: Path) -> None:
    make_step(tmp_path, "sft", "sft", 1)
    html = write_report(tmp_path).read_text("utf-8")
    assert "not finished" in html and 'id="curves"' not in html
    assert "headline" not in json.loads((tmp_path / "summary.json").read_text())


def test_summary_holds_every_result_and_the_headline(run_path: Path) -> None:
    found = json.loads(
        (run_path / "summary.json").read_text(), parse_constant=lambda name: pytest.fail(name)
    )
    assert found["name"] == "quickstart" and found["created"] == "2026-01-05T10:00:00+00:00"
    assert found["headline"]["step"] == "evaluate"
    assert found["headline"]["policies"]["ppo"]["score"]["mean"] == 0.71
    assert found["headline"]["win_rates"]["dpo"]["judge"]["mean"] == 0.7
    assert list(found["steps"]) == [
        "sample", "sft", "preferences", "reward", "judge", "dpo", "ppo", "evaluate",
    ]  # fmt: skip
    step = found["steps"]["reward"]
    assert (step["stage"], step["status"], step["seed"]) == ("reward", "finished", 0)
    assert step["parents"] == ["preferences", "sft"] and step["wall_s"] > 0
    assert len(step["inputs"]["comparisons"][0]["sha256"]) == 64
    assert step["result"]["accuracy_where_chosen_is_longer"] is None


def test_steps_moved_aside_are_left_out_and_named(run_path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run_path, copy)
    shutil.copytree(copy / "dpo", copy / "dpo.old-1")
    run = read_run(copy)
    assert "dpo.old-1" not in summary(run)["steps"]
    assert "dpo.old-1" in Page(render(run)).text


def test_older_than_its_input_is_a_serious_notice(run_path: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run_path, copy)
    manifest = json.loads((copy / "sft" / "manifest.json").read_text())
    manifest["started_at"] = "2026-01-05T11:00:00+00:00"
    (copy / "sft" / "manifest.json").write_text(json.dumps(manifest))
    assert "older than its input 'sft'" in Page(render(read_run(copy))).text


def test_no_run_in_the_folder(tmp_path: Path) -> None:
    with pytest.raises(AccordError, match=r"expected a run directory"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("line", ["{", '{"prompt": "x"}', "[1]"])
def test_damaged_samples_name_their_line(run_path: Path, tmp_path: Path, line: str) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run_path, copy)
    (copy / "evaluate" / "samples.jsonl").write_text(line + "\n")
    with pytest.raises(CheckpointError, match=r"samples\.jsonl, line 1"):
        render(read_run(copy))


def test_rounds_stand_side_by_side(tmp_path: Path) -> None:
    """Each with its gain, agreement and drift; a round that has not ended leaves a gap."""
    for number, (before, after) in enumerate([(0.1, 0.5), (0.5, 0.75)], start=1):
        judged = {"agreement": 0.6 + number / 10, "comparison_count": 10 * number}
        make_step(tmp_path, f"round-{number}/preferences", "preferences", 4 * number, result=judged)
        scores = {"heldout_score_before": before, "heldout_score_after": after}
        result = {**scores, "heldout_kl_nats": 2.5 * number}
        make_step(tmp_path, f"round-{number}/ppo", "ppo", 4 * number + 1, result=result)
    make_step(tmp_path, "round-3/preferences", "preferences", 20)
    rows = {(row.step, row.what): row.values for row in round_rows(read_run(tmp_path))}
    assert rows["preferences", "equal verdicts of two annotators"] == pytest.approx(
        [0.7, 0.8, None]
    )
    assert rows["ppo", "gain in held-out reward"] == pytest.approx([0.4, 0.25, None])
    assert rows["ppo", "drift in the round, nats a response"] == [2.5, 5.0, None]
    html = write_report(tmp_path).read_text("utf-8")
    assert 'id="rounds"' in html and "Round 3" in html
