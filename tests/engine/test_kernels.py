"""The native functions are PyTorch's operators, on every shape that a model may have."""

import subprocess
from pathlib import Path

import pytest
import torch
from torch import Tensor

from accord.engine import native
from accord.engine.columns import Columns
from accord.engine.kernels import Heads, NativeKernels, Reads, TorchKernels
from accord.engine.native import native_library

needs_compiler = pytest.mark.skipif(native_library() is None, reason="needs a C++ compiler")
EPS = 1e-5
DRAW = torch.Generator().manual_seed(0)


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=DRAW)


def kernels(dtype: torch.dtype) -> NativeKernels:
    found = NativeKernels.of(dtype)
    assert found is not None
    return found


def close(found: Tensor, expected: Tensor, dtype: torch.dtype) -> None:
    tolerance = 2e-6 if dtype == torch.float32 else 3e-2
    torch.testing.assert_close(found.float(), expected.float(), atol=tolerance, rtol=tolerance)


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("rows", "size"), [(1, 5), (3, 48), (70, 256)])
def test_add_norm_and_gate(dtype: torch.dtype, rows: int, size: int) -> None:
    """Also where the rows are enough to be shared by threads."""
    hidden, delta, weight = noise(rows, size), noise(rows, size), noise(size)
    plain = TorchKernels()
    for added in (None, delta.to(dtype)):
        expected = plain.add_norm(hidden, added, weight, EPS)
        for is_last in (False, True):
            found = kernels(dtype).add_norm(hidden.clone(), added, weight, EPS, is_last=is_last)
            assert found[1].dtype == (torch.float32 if is_last else dtype)
            close(found[0], expected[0], torch.float32)
            close(found[1], expected[1], found[1].dtype)
    both = torch.cat([20 * noise(rows, size), noise(rows, size)], dim=1).to(dtype)
    close(kernels(dtype).gate(both), plain.gate(both), dtype)


@needs_compiler
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("dim", [8, 48, 64, 128])
@pytest.mark.parametrize("queries", [1, 3])
@pytest.mark.parametrize("is_normed", [False, True])
def test_attention_of_one_token(
    dtype: torch.dtype, dim: int, queries: int, is_normed: bool
) -> None:
    """Over caches of unequal length, whose room is used up on the way."""
    rows, groups, columns = 5, 2, 37
    width = (groups * queries + 2 * groups) * dim
    norms = (noise(dim).to(dtype), noise(dim).to(dtype)) if is_normed else (None, None)
    heads = Heads(groups, dim, *norms, dim**-0.5)
    mask = torch.ones(rows, columns, dtype=torch.long)
    for row, padding in enumerate((0, 5, 36, 36, 1)):
        mask[row, :padding] = 0
    caches = [Columns(), Columns()]
    keys, values = (noise(rows, groups, columns, dim).to(dtype) for _ in range(2))
    caches[0].update(keys, values)
    caches[1].update(keys.float(), values.float())
    plain, fast = TorchKernels(), kernels(dtype)
    reads = [k.reads(mask, heads, room=columns + 80) for k in (fast, plain)]
    for _ in range(80):
        joint = noise(rows, width).to(dtype)
        angles = noise(rows, dim // 2).repeat(1, 2)
        turn = angles.cos(), angles.sin()
        found = fast.attend(joint, turn, heads, EPS, caches[0], reads[0])
        expected = plain.attend(joint, turn, heads, EPS, caches[1], reads[1])
        close(found, expected, dtype)
    close(caches[0].keys, caches[1].keys, dtype)
    assert caches[0].keys.shape[2] == columns + 80


@needs_compiler
def test_a_nan_is_handed_on() -> None:
    """The sampler has to see it."""
    fast = kernels(torch.float32)
    hidden = noise(2, 32)
    hidden[0, 3] = float("nan")
    _, normed = fast.add_norm(hidden, None, torch.ones(32), EPS)
    assert normed[0].isnan().all() and normed[1].isfinite().all()
    assert fast.gate(torch.tensor([[float("nan"), 1.0, 2.0, 3.0]]))[0].isnan().tolist() == [
        True,
        False,
    ]
    cache = Columns()
    keys = noise(2, 1, 4, 16)
    keys[1, 0, 2, 5] = float("nan")
    cache.update(keys, noise(2, 1, 4, 16))
    heads = Heads(1, 16, None, None, 0.25)
    turn = torch.ones(2, 16), torch.zeros(2, 16)
    reads = Reads(torch.zeros(2, dtype=torch.long), None)
    found = fast.attend(noise(2, 48), turn, heads, EPS, cache, reads)
    assert found[0].isfinite().all() and found[1].isnan().all()


@needs_compiler
def test_extremes_of_bfloat16() -> None:
    """Infinity, the largest numbers, and ties to even, as PyTorch rounds them."""
    values = torch.tensor([float("inf"), -float("inf"), 3.3e38, 1.00390625, 1.01171875, -0.0])
    half = values.to(torch.bfloat16)
    fast = kernels(torch.bfloat16)
    added, _ = fast.add_norm(torch.zeros(1, 6), half[None], torch.ones(6), EPS)
    assert torch.equal(added[0], half.float())
    ties = torch.tensor([1 + 2.0**-8, 1 + 3 * 2.0**-8])
    for weights in (values, ties):  # times what is 1 after its norm
        _, normed = fast.add_norm(torch.ones(1, len(weights)), None, weights, 0.0)
        assert torch.equal(normed[0], weights.bfloat16())
    assert normed.tolist() == [[1.0, 1.015625]]


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A user who has never compiled anything."""
    monkeypatch.setattr(native, "native_library", native_library.__wrapped__)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


@needs_compiler
def test_it_is_compiled_once(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert native.native_library() is not None
    assert len(list((fresh / "accord").iterdir())) == 1
    monkeypatch.setattr(subprocess, "run", None)
    assert native.native_library() is not None


@needs_compiler
def test_where_the_cache_cannot_be_written(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (fresh / "accord").write_text("a file where the folder should be")
    assert native.native_library() is not None


def test_without_a_compiler(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "/bin/false")
    assert native.native_library() is None
    monkeypatch.setenv("CXX", str(fresh / "missing"))
    assert native.native_library() is None
    monkeypatch.delenv("CXX")
    monkeypatch.setenv("PATH", str(fresh))
    assert native.native_library() is None


def test_switched_off(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCORD_NATIVE", "0")
    assert native.native_library() is None
    assert not (fresh / "accord").exists()
