"""The optimizer step: schedules, clipping, and the guard against non-finite numbers."""

from pathlib import Path

import pytest
import torch
from torch import nn

from accord.core.errors import CheckpointError, TrainingError
from accord.core.run_dir import RunDir
from accord.training.state import load_checkpoint, save_checkpoint
from accord.training.step import (
    Optimization,
    adamw,
    constant_after_warmup,
    warmup_cosine,
)


def make(path: Path, learning_rate: float = 0.1) -> tuple[nn.Linear, Optimization]:
    torch.manual_seed(0)
    model = nn.Linear(2, 1)
    return model, Optimization(
        [adamw(model.named_parameters(), learning_rate=learning_rate)],
        schedule=constant_after_warmup(warmup_steps=1),
        max_grad_norm=1.0,
        dump_dir=path,
    )


def step(model: nn.Linear, optimization: Optimization, scale: float = 1.0) -> float:
    loss = scale * model(torch.randn(4, 2)).square().mean()
    loss.backward()
    return optimization.step(loss.item(), {"scale": scale}).grad_norm


def test_schedules_by_hand() -> None:
    cosine = warmup_cosine(warmup_steps=2, total_steps=6, floor=0.1)
    assert [cosine(s) for s in (0, 1, 2, 4, 6, 9)] == pytest.approx([0.5, 1, 1, 0.55, 0.1, 0.1])
    constant = constant_after_warmup(warmup_steps=4)
    assert [constant(s) for s in (0, 1, 3, 9)] == [0.25, 0.5, 1, 1]
    assert constant_after_warmup(warmup_steps=0)(0) == 1


def test_non_finite_steps_are_skipped_dumped_and_end_it_at_three(tmp_path: Path) -> None:
    model, optimization = make(tmp_path)
    before = model.weight.detach().clone()
    for _ in range(2):
        step(model, optimization, float("nan"))
    assert torch.equal(model.weight, before)
    assert torch.load(tmp_path / "nonfinite-0.pt")["scale"] != 0
    step(model, optimization)  # a good step starts the count anew
    assert not torch.equal(model.weight, before)
    step(model, optimization, float("inf"))
    step(model, optimization, float("nan"))
    with pytest.raises(TrainingError, match="3 non-finite steps in a row"):
        step(model, optimization, float("nan"))
    assert torch.isfinite(model.weight).all()


def test_a_step_is_adamw_by_hand_and_counts_as_a_change(tmp_path: Path) -> None:
    """The first step moves every weight by the rate, against its gradient's sign."""
    weight = nn.Parameter(torch.tensor([[1.0, -2.0]]))
    optimizer = adamw([("weight", weight)], learning_rate=0.5, weight_decay=0.1)
    steps = Optimization(
        [optimizer], schedule=lambda _: 1.0, max_grad_norm=100.0, dump_dir=tmp_path
    )
    weight.grad = torch.tensor([[3.0, -4.0]])
    before = weight._version
    report = steps.step(1.0, None)
    assert report.grad_norm == pytest.approx(5.0)
    expected = torch.tensor([[1.0 * (1 - 0.05) - 0.5, -2.0 * (1 - 0.05) + 0.5]])
    torch.testing.assert_close(weight.data, expected, rtol=0, atol=1e-6)
    assert weight._version > before


def test_vectors_are_not_decayed(tmp_path: Path) -> None:
    model = nn.Linear(2, 1)
    groups = adamw(model.named_parameters(), learning_rate=1.0, weight_decay=0.5).param_groups
    assert [(len(g["params"]), g["weight_decay"]) for g in groups] == [(1, 0.5), (1, 0.0)]


def test_resumed_is_unbroken_bit_for_bit(tmp_path: Path) -> None:
    unbroken, optimization = make(tmp_path)
    for _ in range(6):
        step(unbroken, optimization)

    run_dir = RunDir(tmp_path)
    model, optimization = make(tmp_path)
    for done in range(1, 4):
        step(model, optimization)
        run_dir.log(done, {"x": 1.0})
    save_checkpoint(
        run_dir, 3, modules={"m": model}, optimizations={"m": optimization}, loop={"kl_coef": 0.25}
    )
    run_dir.log(4, {"x": 1.0})
    torch.manual_seed(99)
    model, optimization = make(tmp_path)
    restored = load_checkpoint(run_dir, modules={"m": model}, optimizations={"m": optimization})
    assert restored == (3, {"kl_coef": 0.25})
    assert [row["step"] for row in run_dir.metrics()] == [1, 2, 3]
    for _ in range(3):
        step(model, optimization)
    assert torch.equal(model.weight, unbroken.weight)


def test_old_checkpoints_go_and_damage_is_named(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path)
    model, optimization = make(tmp_path)
    parts = {"modules": {"m": model}, "optimizations": {"m": optimization}}
    assert load_checkpoint(run_dir, **parts) is None
    for done in range(1, 5):
        save_checkpoint(run_dir, done, **parts, loop={})
    assert [n for n, _ in run_dir.checkpoints()] == [3, 4]
    state = tmp_path / "checkpoint-4" / "state.pt"
    state.write_bytes(state.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"state\.pt: cut short.*delete .*checkpoint-4"):
        load_checkpoint(run_dir, **parts)
    other = {"modules": {"m": nn.Linear(3, 1)}, "optimizations": {"m": optimization}}
    state.unlink()
    with pytest.raises(CheckpointError, match="files are missing"):
        load_checkpoint(run_dir, **other)


@pytest.mark.parametrize("most", [0.5, 1e6])
def test_clipping_within_the_step(tmp_path: Path, most: float) -> None:
    """As by clipping first and an optimizer that does not know of it."""
    model, optimization = make(tmp_path)
    optimization.max_grad_norm = most
    plain = nn.Linear(2, 1)
    plain.load_state_dict(model.state_dict())
    other = torch.optim.AdamW(plain.parameters(), lr=0.1, betas=(0.9, 0.95), weight_decay=0.0)
    assert optimization.optimizers[0].defaults["fused"]
    for seed in range(4):
        for one in (model, plain):
            torch.manual_seed(seed)
            (10 * one(torch.randn(4, 2)).square().mean()).backward()
        norm = nn.utils.clip_grad_norm_(plain.parameters(), most)
        other.step()
        other.zero_grad()
        assert optimization.step(0.0, {}).grad_norm == pytest.approx(float(norm), rel=1e-6)
        assert model.weight.grad is None
        torch.testing.assert_close(model.weight, plain.weight, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(model.bias, plain.bias, atol=1e-6, rtol=1e-5)


def test_a_state_of_an_optimizer_that_was_not_fused(tmp_path: Path) -> None:
    """As one that several processes, or a GPU, have written; clipping is then the plain one."""
    model, optimization = make(tmp_path)
    step(model, optimization)
    saved = optimization.state_dict()
    for group in saved["optimizers"][0]["param_groups"]:
        group["fused"] = None
    other, resumed = make(tmp_path)
    resumed.load_state_dict(saved)
    assert step(other, resumed, scale=1e3) > resumed.max_grad_norm
    assert other.weight.isfinite().all()
