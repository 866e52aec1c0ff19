"""The benchmark's arithmetic: floors by hand, which runs may be compared, figures that stay."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from benchmarks.peers import floors, report, work
from benchmarks.peers import run as peers

LLAMA = {
    "hidden_size": 4, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2,
    "head_dim": 3, "intermediate_size": 5, "vocab_size": 7, "tie_word_embeddings": True,
}  # fmt: skip
# A layer: 4 x 6 four times, 4 x 5 three times; two layers, 2 x (96 + 60); norms (2 x 2 + 1) x 4.
SHAPE = floors.Shape(trunk=312, attention=12, head=28, parameters=312 + 28 + 20)
TREES = [(3, [2, 1]), (1, [4])]
MACHINE = floors.Machine(flops=1000.0, bandwidths=[(1e4, 50.0), (1e9, 10.0)], number=4)


def naive_pairs(trees: list[tuple[int, list[int]]]) -> int:
    """Keys that the tokens of all trees attend to, counted one by one."""
    return sum(
        sum(range(1, p + 1)) + sum(p + i for r in responses for i in range(1, r + 1))
        for p, responses in trees
    )


def test_shape_of_a_llama() -> None:
    assert floors.Shape.of(LLAMA) == SHAPE
    untied = floors.Shape.of(LLAMA | {"tie_word_embeddings": False})
    assert untied.parameters == SHAPE.parameters + 28
    with pytest.raises(ValueError, match="grouped keys"):
        floors.Shape.of(LLAMA | {"num_key_value_heads": 1})


def test_shape_counts_what_a_model_has(tiny_model_dir: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model_dir)
    config = model.config.to_dict()
    if config["num_key_value_heads"] != config["num_attention_heads"]:
        pytest.skip("the tiny model groups its keys")
    assert floors.Shape.of(config).parameters == model.num_parameters()


def test_forward_by_hand() -> None:
    # Ten tokens; pairs: 6 + (4 + 5) + 4 of the first tree, 1 + 2 + 3 + 4 + 5 of the second.
    assert naive_pairs(TREES) == 34
    expected = 2 * 312 * 11 + 4 * 12 * 34 + 2 * 28 * 7
    assert floors.forward(SHAPE, TREES, read=floors.response_tokens(TREES)) == expected


def test_a_shared_prompt_is_counted_once() -> None:
    apart = floors.forward(SHAPE, [(3, [2]), (3, [1])], read=3)
    together = floors.forward(SHAPE, [(3, [2, 1])], read=3)
    assert apart - together == 2 * 312 * 3 + 4 * 12 * 6


def test_training_by_hand() -> None:
    arithmetic = 3 * floors.forward(SHAPE, TREES, read=7) / 1000
    # 360 numbers: 10,080 bytes moved, of four arrays that hold 5,760 and so fit the faster memory.
    expected = arithmetic + 10_080 / 50
    found = floors.training(SHAPE, TREES, MACHINE, reads_head=True)
    assert found == pytest.approx(expected)
    headless = floors.training(SHAPE, TREES, MACHINE, reads_head=False)
    assert found - headless == pytest.approx(3 * 2 * 28 * 7 / 1000)


@pytest.mark.parametrize(("flops", "bound"), [(1000.0, "bytes"), (1.0, "operations")])
def test_sampling_takes_the_longer_of_two(flops: float, bound: str) -> None:
    machine = floors.Machine(flops, MACHINE.bandwidths, 4)
    # A prompt of 3, then 3 tokens: the first is read with the prompt, two steps remain, at 4 and 5.
    seconds = (2 * 312 * 3 + 4 * 12 * 6 + 2 * 28) / flops
    for length in (4, 5):
        by = {
            "bytes": 4 * (312 + 28 + 2 * 12 * length) / 50,
            "operations": (2 * (312 + 28) + 4 * 12 * length) / flops,
        }
        assert max(by, key=lambda name: by[name]) == bound
        seconds += by[bound]
    assert floors.sampling(SHAPE, [(3, [3])], machine) == pytest.approx(seconds)


def test_bandwidth_is_that_of_what_holds_the_set() -> None:
    limits = {"float32_gflops": 2.0, "bf16_gflops": 4.0, "gbytes_128mb": 3.0, "gbytes_16mb": 9.0}
    machine = floors.Machine.of(limits, "bf16")
    assert (machine.flops, machine.number) == (4e9, 2)
    found = [machine.bandwidth(size * 2**20) for size in (1, 16, 17, 500)]
    assert found == [9e9, 9e9, 3e9, 3e9]


def test_floors_of_methods_add_up() -> None:
    def of(method: str, *, shared: bool = False) -> float:
        return floors.floor(method, SHAPE, TREES, MACHINE, epochs=2, shared=shared)

    read = floors.forward(SHAPE, TREES, read=7) / 1000
    bare = floors.forward(SHAPE, TREES, read=0) / 1000
    assert of("kto") == pytest.approx(of("sft") + read)
    assert of("rloo") == pytest.approx(of("sampling") + of("sft"))
    assert of("ppo", shared=True) == pytest.approx(of("sampling") + read + 2 * of("sft"))
    separate = of("ppo", shared=True) + bare + 2 * of("reward")
    assert of("ppo") == pytest.approx(separate)


def run(seconds: float, *, loss: float | None = None, reward: float | None = None) -> Any:
    spread = {"fastest": seconds, "slowest": seconds}
    return {"seconds": seconds, "loss": loss, "reward": reward, "peak_mb": 100.0, **spread}


def test_the_fastest_run_has_to_reach_the_loss() -> None:
    runs = {
        "ours float32": run(2.0, loss=1.00),
        "ours bf16": run(1.0, loss=1.02),
        "trl float32": run(4.0, loss=1.00),
        "trl bf16-weights": run(0.5, loss=1.03),  # fast, and learns less
    }
    target = report.target_of(runs, "trl")
    assert report.fastest_of(runs, "ours", target) == "ours bf16"
    assert report.fastest_of(runs, "trl", target) == "trl float32"


def test_a_reward_may_be_higher_but_not_lower() -> None:
    target = run(1.0, reward=0.5, loss=9.0)
    assert report.reaches(run(1.0, reward=0.9, loss=99.0), target)
    assert report.reaches(run(1.0, reward=0.481), target)
    assert not report.reaches(run(1.0, reward=0.479), target)


def entry(seconds: float) -> Any:
    return {
        "date": "2026-01-01", "commit": "abc", "machine": "m", "rounds": 5, "rows": 16,
        "tokens": 1000.0, "limits": {"float32_gflops": 400.0}, "floors": {"float32": 0.5},
        "runs": {
            "ours float32": run(seconds, loss=1.0), "trl float32": run(4.0, loss=1.01),
        },
    }  # fmt: skip


def test_works_are_merged_and_text_around_the_tables_stays(tmp_path: Path) -> None:
    figures, results = tmp_path / "peers.json", tmp_path / "results.md"
    results.write_text("# Results\n\nkept\n")
    report.merge(figures, "dpo", entry(2.0))
    report.merge(figures, "sft", entry(1.0))
    report.write(json.loads(figures.read_text()), tmp_path)
    results.write_text(results.read_text() + "\nkept too\n")
    report.merge(figures, "sft", entry(0.5))
    report.write(json.loads(figures.read_text()), tmp_path)

    text = results.read_text()
    assert text.startswith("# Results\n\nkept\n") and text.endswith("\nkept too\n")
    rows = [line for line in text.splitlines() if line.startswith(("| sft | f", "| dpo | f"))]
    assert rows == [
        "| sft | float32 | trl | 0.500 | 4.000 | 8.00 | 1.5: yes | 2000 | 32.0 | 0.500 | "
        "100% / 12% | 1.000 / 1.010 | 100 / 100 | 1.00 |",
        "| dpo | float32 | trl | 2.000 | 4.000 | 2.00 | 1.5: yes | 500 | 8.0 | 0.500 | "
        "25% / 12% | 1.000 / 1.010 | 100 / 100 | 1.00 |",
    ]


def test_losses_are_compared_step_by_step() -> None:
    found = entry(1.0)
    assert report.loss_rows("sft", found) == []  # figures of an earlier kind
    found["runs"]["ours float32"]["losses"] = [2.0, 1.0, 0.5]
    found["runs"]["trl float32"]["losses"] = [2.0, 1.25, 0.5]
    assert report.loss_rows("sft", found) == ["| sft | float32 | trl | 3 | 2.0e-01 |"]
    assert report.loss_rows("ppo", found) == []  # each side samples its own


def test_figures_of_elsewhere_are_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A GPU's leave those of CPUs, and the tables made of them, as they are."""

    def compare(case: str, options: Any) -> Any:
        if case == "dpo":
            raise RuntimeError("out of memory")
        return entry(2.0)

    kept = [peers.FIGURES, work.ROOT / "benchmarks/results.md"]
    before = [path.read_bytes() for path in kept]
    monkeypatch.setattr(peers, "compare", compare)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: None)  # builds the models
    with pytest.raises(SystemExit, match="failed, .*: dpo"):
        peers.main(["--figures", str(tmp_path / "gpu.json"), "--only", "dpo", "sft"])
    assert list(json.loads((tmp_path / "gpu.json").read_text())) == ["sft"]
    assert "| sft | float32 | trl | 2.000 | 4.000 | 2.00 |" in capsys.readouterr().out
    assert [path.read_bytes() for path in kept] == before


def test_sampling_without_vllm_is_beside_generate() -> None:
    sides = {side for side, _ in peers.plan("sampling", has_vllm=False)}
    assert sides == {"ours", "generate"}
    assert ("vllm", "bf16") in peers.plan("sampling-100m", has_vllm=True)


def test_memory_is_written_as_a_table_and_a_plot(tmp_path: Path) -> None:
    point = {
        "curve": "tokens", "kind": "head", "vocabulary": 8192, "tokens": 2048, "length": 1024,
        "of_weights_mb": 8.0, "ours": 108.0, "trl": 508.0,
    }  # fmt: skip
    (tmp_path / "results.md").write_text("")
    figures = {"memory": {"date": "2026-01-01", "commit": "abc", "points": [point]}}
    report.write(figures, tmp_path)
    assert (
        "| tokens | head | 8192 | 2048 | 1024 | 108 / 508 | 8 | 100 / 500 |"
        in (tmp_path / "results.md").read_text()
    )
    first = (tmp_path / "memory.svg").read_bytes()
    report.write(figures, tmp_path)
    assert (tmp_path / "memory.svg").read_bytes() == first
    assert b"<svg" in first
