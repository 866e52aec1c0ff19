import dataclasses
from itertools import pairwise
from pathlib import Path

import pytest

from accord.reporting.curves import Line, Panel, panels
from accord.reporting.lineage import BOX_HEIGHT, BOX_WIDTH, ancestry, draw, sources
from accord.reporting.plots import panel_svg
from accord.reporting.run_files import Run, StepFiles, read_run
from reporting.fake_run import make_run, make_step


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return read_run(make_run(tmp_path_factory.mktemp("runs")))


def test_training_and_held_out_share_a_panel(run: Run) -> None:
    ppo = run.step("ppo")
    assert ppo
    found = {panel.title: panel for panel in panels(ppo)}
    assert [line.label for line in found["Score"].lines] == ["held-out", "training"]
    assert found["Score"].unit == "reward model's units"
    assert not found["policy/grad_norm"].is_main
    assert not any("perf" in title or "stopped_early" in title for title in found)
    assert "Loss" not in found and "Weighted sum of the losses" in found


def test_long_curves_are_averaged_and_gaps_left_out() -> None:
    rows = [{"step": n, "loss": None if n == 3 else float(n % 2)} for n in range(1, 1002)]
    step = StepFiles("s", Path("s"), {"stage": "sft"}, {}, rows, {})
    (panel,) = panels(step)
    (line,) = panel.lines
    assert len(line.steps) == len(line.values) <= 160
    assert all(abs(value - 0.5) < 0.1 for value in line.values[:-1])
    assert line.steps == sorted(line.steps)


def test_plots_follow_the_page_and_repeat_byte_for_byte() -> None:
    line = Line("a<b>", [1.0, 2.0], [3.0, 4.0], is_held_out=True)
    panel = Panel("$T_i$ & <i>", "nats", [line], is_main=True)
    svg = panel_svg(panel, key="k", x_label="step")
    assert svg == panel_svg(panel, key="k", x_label="step")
    assert svg.startswith("<svg ") and svg.endswith("</svg>")
    assert "var(--series-2)" in svg and "var(--ink)" in svg and "DejaVu" not in svg
    assert "<i>" not in svg and "$T_i$ &amp; &lt;i&gt;" in svg
    assert not [colour for colour in ("#01", "#02", "#03", "#0a") if colour in svg]


def test_sources_name_the_output_or_the_file(run: Run) -> None:
    evaluate = run.step("evaluate")
    assert evaluate
    found = [(source.field, source.label) for source in sources(run, evaluate)]
    assert found[:2] == [("policies.base", "models/accord-base"), ("policies.sft", "sft.model")]
    assert ("prompts", "sample.prompts_test") in found
    judged = dataclasses.replace(
        evaluate,
        manifest={
            "parents": ["ppo", "dpo"],
            "inputs": {"evaluations": [{"value": "elsewhere/quickstart/dpo/result.json"}]},
        },
    )
    (figures,) = sources(run, judged)
    assert (figures.label, figures.step) == ("dpo.result", "dpo")


def test_ancestry_reaches_the_files_and_lists_each_step_once(run: Run) -> None:
    ppo = run.step("ppo")
    assert ppo
    tree = ancestry(run, ppo)
    sft, prompts, reward = (branch for _, branch in tree.sources)
    assert sft and prompts and reward
    base = sft.sources[0][0]
    assert base.step is None and base.value == "models/accord-base" and base.sha256
    assert prompts.is_repeated  # the demonstrations came from the same step
    assert [b.is_repeated for _, b in reward.sources if b] == [True, False, True]


def test_a_circle_of_parents_ends(tmp_path: Path) -> None:
    for name, other in (("a", "b"), ("b", "a")):
        make_step(
            tmp_path, name, "sft", 1, parents=(other,), result={"model": "model"},
            inputs={"model_name_or_path": [f"runs/x/{other}/model"]},
        )  # fmt: skip
    run = read_run(tmp_path)
    assert {step.name for step in run.steps} == {"a", "b"}
    ancestry(run, run.steps[0])
    draw(run)


def test_boxes_do_not_overlap_and_lines_run_downwards(run: Run) -> None:
    drawing = draw(run)
    assert {node.key for node in drawing.nodes} >= {step.name for step in run.steps}
    rows: dict[float, list[float]] = {}
    for node in drawing.nodes:
        rows.setdefault(node.y, []).append(node.x)
        assert BOX_WIDTH / 2 <= node.x <= drawing.width - BOX_WIDTH / 2
        assert BOX_HEIGHT / 2 <= node.y <= drawing.height - BOX_HEIGHT / 2
    for places in rows.values():
        assert all(b - a >= BOX_WIDTH for a, b in pairwise(sorted(places)))
    place = {node.key: node.y for node in drawing.nodes}
    for step in run.steps:
        assert all(place[parent] < place[step.name] for parent in step.manifest["parents"])
