"""What training a decoder does between its matrix products, natively where that is possible.

Each is one pass over memory forward and one backward, in C++ (`training.cpp`), for float32 and,
under autocast, bfloat16 on a CPU. Elsewhere a model's own modules and PyTorch's operators do the
same. Attention is in `native_attention`.
"""

import ctypes
import functools
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from accord.models.native import both_types, call, load_native

_SOURCE = Path(__file__).with_name("training.cpp")
_POINTER, _NUMBER = ctypes.c_void_p, ctypes.c_int64
_REAL, _SMALL = ctypes.c_float, ctypes.c_int32


@functools.cache
def training_library() -> ctypes.CDLL | None:
    """The functions of training.cpp, or None."""
    of_rows = [_NUMBER, _NUMBER]
    functions = {
        "norm_forward": [*[_POINTER] * 6, *of_rows, _REAL, _SMALL],
        "norm_backward": [*[_POINTER] * 8, *of_rows, _SMALL],
        "gate_forward": [*[_POINTER] * 3, _NUMBER, _SMALL],
        "gate_backward": [*[_POINTER] * 5, _NUMBER, _SMALL],
        "logits_backward": [*[_POINTER] * 7, *of_rows, _SMALL],
    }
    of_logits = {"read_logits_float32": [*[_POINTER] * 3, *of_rows, _SMALL]}
    return load_native(_SOURCE, both_types(functions) | of_logits)


def branch_dtype(hidden: Tensor) -> torch.dtype | None:
    """What products read and write beside a stream of float32; None where that is not native."""
    if hidden.dtype != torch.float32 or hidden.device.type != "cpu":
        return None
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else torch.float32
    return dtype if dtype in (torch.float32, torch.bfloat16) else None


def add_norm(norm: Any, hidden: Tensor, delta: Tensor | None) -> tuple[Tensor, Tensor]:
    """(T, H) hidden + delta (where there is one), and its RMS norm by a module."""
    dtype = branch_dtype(hidden)
    is_native = (
        dtype is not None
        and training_library() is not None
        and norm.weight.dtype == torch.float32
        and hasattr(norm, "variance_epsilon")
        and (delta is None or delta.dtype == dtype)
    )
    if not is_native:
        hidden = hidden if delta is None else hidden + delta
        return hidden, norm(hidden)
    if delta is None:
        return hidden, _Norm.apply(hidden, None, norm.weight, norm.variance_epsilon, dtype)  # type: ignore[no-untyped-call]
    found: tuple[Tensor, Tensor] = _Norm.apply(  # type: ignore[no-untyped-call]
        hidden, delta, norm.weight, norm.variance_epsilon, dtype
    )
    return found


class _Norm(torch.autograd.Function):
    """s = hidden + delta and out = w s r, r = 1 / sqrt(mean s^2 + eps); without delta out alone.

    ds = r (g w - s r^2 mean(g w s)) + what s gets elsewhere
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        delta: Tensor | None,
        weight: Tensor,
        eps: float,
        dtype: torch.dtype,
    ) -> Any:
        hidden = hidden.contiguous()
        total = hidden if delta is None else torch.empty_like(hidden)
        out = torch.empty_like(hidden, dtype=dtype)
        scales = hidden.new_empty(len(hidden))
        added = None if delta is None else delta.contiguous()
        call(
            training_library(), "norm_forward", hidden, added, weight, total, out, scales,
            *hidden.shape, eps, torch.get_num_threads(), of=dtype,
        )  # fmt: skip
        ctx.save_for_backward(total, weight, scales)
        ctx.dtype, ctx.has_delta = dtype, delta is not None
        return (total, out) if delta is not None else out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        total, weight, scales = ctx.saved_tensors
        of_total = gradients[0].contiguous() if ctx.has_delta else None
        found = torch.empty_like(total)
        apart = ctx.has_delta and ctx.dtype != torch.float32
        of_delta = torch.empty_like(total, dtype=ctx.dtype) if apart else None
        of_weight = torch.zeros_like(weight) if ctx.needs_input_grad[2] else None
        call(
            training_library(), "norm_backward", total, weight, scales,
            gradients[-1].contiguous(), of_total, found, of_delta, of_weight, *total.shape,
            torch.get_num_threads(), of=ctx.dtype,
        )  # fmt: skip
        same = found if ctx.has_delta else None
        return found, of_delta if apart else same, of_weight, None, None


def gated(mlp: Any, normed: Tensor) -> Tensor:
    """(T, H) of an MLP whose gate is SiLU, or of whatever it is."""
    is_silu = isinstance(mlp.act_fn, nn.SiLU) or type(mlp.act_fn).__name__ == "SiLUActivation"
    if not is_silu or training_library() is None or normed.device.type != "cpu":
        return mlp(normed)  # type: ignore[no-any-return]
    gate, up = mlp.gate_proj(normed), mlp.up_proj(normed)
    if gate.dtype != up.dtype or gate.dtype not in (torch.float32, torch.bfloat16):
        return mlp.down_proj(mlp.act_fn(gate) * up)  # type: ignore[no-any-return]
    return mlp.down_proj(_Gate.apply(gate, up))  # type: ignore[no-any-return, no-untyped-call]


class _Gate(torch.autograd.Function):
    """silu(gate) up."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        gate, up = gate.contiguous(), up.contiguous()
        out = torch.empty_like(gate)
        size, threads = gate.numel(), torch.get_num_threads()
        call(training_library(), "gate_forward", gate, up, out, size, threads, of=gate.dtype)
        ctx.save_for_backward(gate, up)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        gate, up = ctx.saved_tensors
        of_gate, of_up = torch.empty_like(gate), torch.empty_like(up)
        tensors = (gate, up, gradient.contiguous(), of_gate, of_up)
        size, threads = gate.numel(), torch.get_num_threads()
        call(training_library(), "gate_backward", *tensors, size, threads, of=gate.dtype)
        return of_gate, of_up


def read_logits(logits: Tensor, *, with_entropy: bool) -> tuple[Tensor, Tensor | None]:
    """Of each row of (n, V) float32 logits: log sum e^z, and the entropy in nats if asked for."""
    if not _reads_natively(logits):
        totals = logits.logsumexp(-1)
        if not with_entropy:
            return totals, None
        every = logits - totals[:, None]
        return totals, -(every.exp().mul_(every)).sum(-1)
    totals = logits.new_empty(len(logits))
    entropies = torch.empty_like(totals) if with_entropy else None
    threads = torch.get_num_threads()
    call(
        training_library(), "read_logits", logits, totals, entropies, *logits.shape, threads,
        of=torch.float32,
    )  # fmt: skip
    return totals, entropies


def logits_gradient(
    logits: Tensor,
    targets: Tensor,
    totals: Tensor,
    of_logprobs: Tensor,
    of_entropies: tuple[Tensor, Tensor] | None,
    dtype: torch.dtype,
) -> Tensor:
    """Gradient of sum g log p(target) + h H: g at the targets less p (g + h (log p + H)).

    In float32 it takes the place of the logits.

    Args:
        logits: (n, V) float32, p being their softmax.
        targets: (n,)
        totals: (n,) of `read_logits`.
        of_logprobs: (n,) g.
        of_entropies: (n,) each, H and h.
        dtype: of the gradient, float32 or bfloat16; it is computed in float32.
    """
    if not _reads_natively(logits):
        logits.sub_(totals[:, None])
        if of_entropies is None:
            logits.exp_().mul_(-of_logprobs[:, None])
        else:
            entropies, gradient = of_entropies
            pull = (logits + entropies[:, None]).mul_(gradient[:, None]).add_(of_logprobs[:, None])
            logits.exp_().mul_(pull.neg_())
        return logits.scatter_add_(-1, targets[:, None], of_logprobs[:, None]).to(dtype)
    pulls = (None, None) if of_entropies is None else of_entropies
    tensors = [
        None if t is None else t.contiguous()
        for t in (targets, totals, pulls[0], of_logprobs, pulls[1])
    ]
    found = logits if dtype == torch.float32 else torch.empty_like(logits, dtype=dtype)
    threads = torch.get_num_threads()
    call(
        training_library(), "logits_backward", logits, *tensors, found, *logits.shape, threads,
        of=dtype,
    )  # fmt: skip
    return found


def _reads_natively(logits: Tensor) -> bool:
    return (
        logits.device.type == "cpu"
        and logits.dtype == torch.float32
        and logits.is_contiguous()
        and training_library() is not None
    )
