"""Native functions of training are the plain modules and operators: values and gradients."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers.models.llama.modeling_llama import LlamaConfig, LlamaMLP, LlamaRMSNorm

from accord.models import native_attention, training_kernels
from accord.models.native_attention import Layout, attention_library, turned_attention
from accord.models.packed_attention import Piece
from accord.models.training_kernels import (
    add_norm,
    gated,
    logits_gradient,
    read_logits,
    training_library,
)

KINDS = [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)]
needs_compiler = pytest.mark.skipif(training_library() is None, reason="needs a C++ compiler")


@pytest.fixture
def plainly(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], Any]:
    """Calls something where there is no compiler."""

    def call(function: Callable[[], Any]) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(training_kernels, "training_library", lambda: None)
            patch.setattr(native_attention, "attention_library", lambda: None)
            return function()

    return call


def draw(*shape: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)
    return drawn.requires_grad_()


def with_gradients(
    function: Callable[[], Sequence[Tensor]], inputs: Sequence[Tensor]
) -> list[Tensor]:
    """Outputs, and gradients of a random combination of them."""
    outputs = function()
    pulls = [draw(*o.shape, seed=90 + i).detach().to(o.dtype) for i, o in enumerate(outputs)]
    gradients = torch.autograd.grad(outputs, inputs, pulls)
    return [t.detach().float() for t in (*outputs, *gradients)]


def assert_close(found: Sequence[Tensor], expected: Sequence[Tensor], tolerance: float) -> None:
    for ours, plain in zip(found, expected, strict=True):
        assert ours.shape == plain.shape
        size = max(1.0, float(plain.abs().max()))
        assert float((ours - plain).abs().max()) <= tolerance * size


@needs_compiler
@pytest.mark.parametrize("has_delta", [True, False])
@pytest.mark.parametrize("shape", [(5, 7), (1, 64), (300, 96)])
@pytest.mark.parametrize(("dtype", "tolerance"), KINDS)
def test_a_sum_and_its_norm(
    plainly: Any, has_delta: bool, shape: tuple[int, int], dtype: torch.dtype, tolerance: float
) -> None:
    norm = LlamaRMSNorm(shape[1], eps=1e-5)  # type: ignore[no-untyped-call]
    nn.init.uniform_(norm.weight, 0.5, 1.5)
    hidden = draw(*shape, seed=1)
    delta = draw(*shape, seed=2, dtype=dtype) if has_delta else None
    inputs = [hidden, norm.weight, *([] if delta is None else [delta])]

    def outputs() -> Sequence[Tensor]:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            total, normed = add_norm(norm, hidden, delta)
        # Hidden itself comes back without a delta.
        return (total, normed.to(dtype)) if has_delta else (normed.to(dtype),)

    found, expected = (
        with_gradients(outputs, inputs),
        plainly(lambda: with_gradients(outputs, inputs)),
    )
    assert_close(found, expected, tolerance)


@needs_compiler
def test_a_norm_whose_sum_goes_nowhere() -> None:
    norm = LlamaRMSNorm(8)  # type: ignore[no-untyped-call]
    hidden, delta = draw(3, 8, seed=1), draw(3, 8, seed=2)
    found = torch.autograd.grad(add_norm(norm, hidden, delta)[1].square().sum(), [hidden, delta])
    plain = torch.autograd.grad(norm(hidden + delta).square().sum(), [hidden, delta])
    assert_close(found, plain, 1e-5)


@needs_compiler
@pytest.mark.parametrize("rows", [1, 40])
@pytest.mark.parametrize(("dtype", "tolerance"), KINDS)
def test_a_gate(plainly: Any, rows: int, dtype: torch.dtype, tolerance: float) -> None:
    torch.manual_seed(0)
    config = LlamaConfig(hidden_size=24, num_attention_heads=2, intermediate_size=430)
    mlp = LlamaMLP(config).to(dtype)  # type: ignore[no-untyped-call]
    states = (3 * draw(rows, 24, seed=1).detach()).to(dtype).requires_grad_()
    inputs = [states, *mlp.parameters()]
    found = with_gradients(lambda: [gated(mlp, states)], inputs)
    assert_close(found, with_gradients(lambda: [mlp(states)], inputs), tolerance)
    assert_close(
        found, plainly(lambda: with_gradients(lambda: [gated(mlp, states)], inputs)), tolerance
    )


PIECES = {
    "rows": [Piece(33), Piece(1), Piece(70)],
    "shared": [Piece(20), Piece(5, 0), Piece(40, 0), Piece(3), Piece(17), Piece(2, 4)],
    "nested": [Piece(18), Piece(16, 0), Piece(9, 1), Piece(35, 1), Piece(4, 0), Piece(6)],
}


def masked(pieces: Sequence[Piece]) -> list[Piece]:
    """With the masks that `pack` gives to pieces that continue others."""
    found: list[Piece] = []
    for piece in pieces:
        seen, after = 0, piece.after
        while after is not None:
            seen, after = seen + pieces[after].length, pieces[after].after
        mask = torch.ones(piece.length, seen + piece.length).tril(seen).bool()
        found.append(piece if piece.after is None else piece._replace(mask=mask))
    return found


@needs_compiler
@pytest.mark.parametrize("reads", ["all", "some"])
@pytest.mark.parametrize("heads", [(4, 4), (4, 2), (3, 1)])
@pytest.mark.parametrize("name", PIECES)
@pytest.mark.parametrize(("dtype", "tolerance"), KINDS)
def test_attention(
    plainly: Any,
    name: str,
    heads: tuple[int, int],
    reads: str,
    dtype: torch.dtype,
    tolerance: float,
) -> None:
    assert attention_library() is not None
    pieces, dim = masked(PIECES[name]), 32
    tokens = sum(piece.length for piece in pieces)
    # The second piece has no query, and the last one its last token alone.
    read = None
    if reads == "some":
        ends = list(itertools.accumulate(piece.length for piece in pieces))
        second = range(ends[0], ends[1])
        read = torch.tensor([t for t in range(2, ends[-2], 3) if t not in second] + [tokens - 1])
    count = tokens if read is None else len(read)
    inputs = [
        draw(n, h, dim, seed=i, dtype=dtype)
        for i, (n, h) in enumerate(((count, heads[0]), (tokens, heads[1]), (tokens, heads[1])))
    ]
    angles = torch.randn(tokens, dim, generator=torch.Generator().manual_seed(7))

    def outputs() -> Sequence[Tensor]:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            attended = turned_attention(
                (inputs[0], inputs[1], inputs[2]),
                (angles.cos(), angles.sin()),
                pieces,
                layout=Layout.of(pieces, read),
                scaling=0.2,
                dropout=0.0,
                read=read,
            )
        return [attended]

    found = with_gradients(outputs, inputs)
    assert_close(found, plainly(lambda: with_gradients(outputs, inputs)), tolerance)


@needs_compiler
@pytest.mark.parametrize("size", [7, 3000])
def test_logits(plainly: Any, size: int) -> None:
    """Against plain autograd: log-probs of targets, and entropies."""
    logits = (5 * draw(6, size, seed=1).detach()).requires_grad_()
    targets = torch.arange(6) % size
    of_logprobs, of_entropies = draw(6, seed=2).detach(), draw(6, seed=3).detach()
    every = logits.log_softmax(-1)
    entropies = -(every.exp() * every).sum(-1)
    for with_entropy in (True, False):
        loss = (of_logprobs * every.gather(-1, targets[:, None])[:, 0]).sum()
        loss = loss + (of_entropies * entropies).sum() if with_entropy else loss
        (expected,) = torch.autograd.grad(loss, logits, retain_graph=True)

        def ours(with_entropy: bool = with_entropy) -> list[Tensor]:
            totals, found = read_logits(logits.detach(), with_entropy=with_entropy)
            pull = None if found is None else (found, of_entropies)
            wanted = (totals, of_logprobs, pull)
            gradient = logits_gradient(logits.detach().clone(), targets, *wanted, torch.float32)
            rounded = logits_gradient(logits.detach().clone(), targets, *wanted, torch.bfloat16)
            assert torch.equal(rounded, gradient.bfloat16())
            return [totals, entropies.detach() if found is None else found, gradient]

        wanted = [logits.logsumexp(-1).detach(), entropies.detach(), expected]
        assert_close(ours(), wanted, 1e-5)
        assert_close(plainly(ours), wanted, 1e-5)


@needs_compiler
def test_what_is_no_number_stays_so() -> None:
    logits = torch.tensor([[1.0, float("nan"), 2.0], [1.0, float("inf"), 0.0], [0.0, 1.0, 2.0]])
    totals, entropies = read_logits(logits, with_entropy=True)
    assert entropies is not None
    assert totals[:2].isfinite().tolist() == entropies[:2].isfinite().tolist() == [False] * 2
    assert bool(totals[2].isfinite()) and bool(entropies[2].isfinite())
    hidden = torch.tensor([[1.0, float("nan")], [1.0, 2.0]])
    normed = add_norm(LlamaRMSNorm(2), hidden, hidden)[1]  # type: ignore[no-untyped-call]
    assert normed.isfinite().all(-1).tolist() == [False, True]


@needs_compiler
def test_a_token_that_is_ruled_out() -> None:
    """A logit of -inf has no mass and no gradient, as by PyTorch's operators."""
    logits = torch.tensor([[1.0, -float("inf"), 2.0]])
    totals, _ = read_logits(logits, with_entropy=False)
    torch.testing.assert_close(totals, logits.logsumexp(-1))
    given = (torch.tensor([0]), totals, torch.ones(1), None)
    gradient = logits_gradient(logits.clone(), *given, torch.float32)
    torch.testing.assert_close(gradient, torch.tensor([[1.0, 0.0, 0.0]]) - logits.softmax(-1))
