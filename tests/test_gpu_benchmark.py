"""The GPU benchmark's arithmetic against torch's own count; and what it does without a GPU."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks.gpu import arithmetic
from benchmarks.gpu.measure import llama_of, table
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig, LlamaForCausalLM

from accord.models.footprint import Footprint, footprint

ROOT = Path(__file__).parents[1]
ROWS, LENGTH = 3, 40


@pytest.fixture(params=[True, False], ids=["tied", "untied"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Any, Footprint]:
    """Attention is eager, so that each of its products is counted."""
    config = LlamaConfig(
        vocab_size=200, hidden_size=64, intermediate_size=160, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=request.param,
        attn_implementation="eager",
    )  # fmt: skip
    built = LlamaForCausalLM(config)
    built.save_pretrained(tmp_path)
    return built, footprint(str(tmp_path))


def counted(work: Any) -> float:
    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())


def test_flops_are_those_that_torch_counts(model: tuple[Any, Footprint]) -> None:
    module, sizes = model
    ids = torch.randint(200, (ROWS, LENGTH))
    tokens = ROWS * LENGTH
    forward = tokens * arithmetic.trunk_flops(sizes, LENGTH)
    # Norms are weights without a product, and rotary angles products without a weight.
    trunk = counted(lambda: module.model(input_ids=ids, use_cache=False))
    assert forward == pytest.approx(trunk, rel=0.01)
    whole = counted(lambda: module(input_ids=ids, use_cache=False))
    assert forward + tokens * arithmetic.head_flops(sizes) == pytest.approx(whole, rel=0.01)
    trained = arithmetic.training_flops(sizes, tokens=tokens, targets=tokens, length=LENGTH)
    loss = counted(lambda: module(input_ids=ids, use_cache=False).logits.sum().backward())
    assert trained == pytest.approx(loss, rel=0.01)


def test_an_update_is_its_models_and_epochs(model: tuple[Any, Footprint]) -> None:
    _, sizes = model
    policy = arithmetic.training_flops(sizes, tokens=100, targets=30, length=50)
    value = arithmetic.training_flops(sizes, tokens=100, targets=0, length=50)
    assert policy - value == 3 * 30 * 2 * 200 * 64
    work = {"tokens": 100, "responses": 30, "length": 50, "epochs": 4}
    assert arithmetic.ppo_update_flops(sizes, sizes, **work) == 4 * (policy + value)
    assert arithmetic.ppo_update_flops(sizes, None, **work) == 4 * policy


def test_bytes_by_hand(model: tuple[Any, Footprint]) -> None:
    module, sizes = model
    products = [m.weight.numel() for m in module.modules() if isinstance(m, torch.nn.Linear)]
    norms = 7 * 64
    a_token = 3 * 2 * 2 * 16  # layers, keys and values, groups, head size
    alone = arithmetic.sampling_bytes(sizes, rows=1, context=0, weight_bytes=2)
    assert alone == 2 * (sum(products) + norms)
    many = arithmetic.sampling_bytes(sizes, rows=8, context=10, weight_bytes=2)
    assert many - alone == 2 * 8 * 10 * a_token


@pytest.mark.parametrize("parameters", [0.5e9, 0.6e9, 1.5e9])
def test_the_model_has_the_size_that_was_asked_for(parameters: float) -> None:
    with torch.device("meta"):
        built = LlamaForCausalLM(llama_of(parameters, 8192))
    assert sum(p.numel() for p in built.parameters()) == pytest.approx(parameters, rel=0.05)


def test_a_table_has_the_shares(model: tuple[Any, Footprint]) -> None:
    assert arithmetic.published_limits("NVIDIA H100 80GB HBM3") == (989e12, 3.35e12)
    assert arithmetic.published_limits("another") is None
    sources = {"measured": (800e12, 3e12), "data sheet": None}
    written = table("a device", model[1], sources, {"SFT": 400e12}, {32: (1.5e12, 1000.0)})
    assert "| SFT | 400.0 TFLOP/s | 50.0% |" in written
    assert "1000 tokens a second | 1.500 TB/s | 50.0% |" in written


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_nothing_is_done(tmp_path: Path) -> None:
    output = tmp_path / "gpu.md"
    done = subprocess.run(
        ["sh", str(ROOT / "benchmarks" / "gpu.sh"), str(output)],
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "no CUDA GPU here: nothing to measure\n")
    assert not output.exists()
