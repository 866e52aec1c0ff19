"""The machine's two limits, measured: matrix products by precision, and memory bandwidth.

Each figure is the best of a few repetitions over what is tried, since a limit is what cannot be
beaten: float32 products by PyTorch's BLAS and by oneDNN, bfloat16 products; bandwidth as bytes read
by a sum, or read and written by a copy, of as much memory as the name says (what lies in a cache is
read faster, and small models do). They are the GPU's where there is one, with larger products, too.
"""

import json
import time
from collections.abc import Callable

import torch

SIZES_MB = (16, 128, 1024)
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SHAPES = [(2048, 1024, 1024), (4096, 704, 256), (4096, 2048, 768)]


def best(work: Callable[[], object], amount: float) -> float:
    """Amount a second, in the fastest of at least seven repetitions and half a second of them."""
    fastest, begun, repetitions = float("inf"), time.perf_counter(), 0
    while repetitions < 7 or time.perf_counter() - begun < 0.5:
        repetitions += 1
        start = time.perf_counter()
        work()
        if DEVICE == "cuda":
            torch.cuda.synchronize()
        fastest = min(fastest, time.perf_counter() - start)
    return amount / fastest


def gflops(dtype: torch.dtype) -> float:
    """Billions of operations a second of a product, shapes large and as in a small model."""
    found = []
    for m, n, k in [*SHAPES, *([(8192, 8192, 8192)] if DEVICE == "cuda" else [])]:
        a, b = (torch.randn(rows, k, dtype=dtype, device=DEVICE) for rows in (m, n))
        ways = [lambda a=a, b=b: torch.nn.functional.linear(a, b)]
        if DEVICE == "cpu" and torch.backends.mkldnn.is_available():
            ways.append(
                lambda a=a, b=b: torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], "")
            )
        found += [best(way, 2 * m * n * k / 1e9) for way in ways]
    return max(found)


def gbytes(megabytes: int) -> float:
    """Billions of bytes a second over so many megabytes."""
    source = torch.ones(megabytes * 2**20 // 4, device=DEVICE)
    size = source.numel() * 4 / 1e9
    half = source.chunk(2)
    return max(best(source.sum, size), best(lambda: half[1].copy_(half[0]), size))


def limits() -> dict[str, float]:
    """GFLOP/s by precision, GB/s by size."""
    with torch.no_grad():
        return {
            "float32_gflops": gflops(torch.float32),
            "bf16_gflops": gflops(torch.bfloat16),
            **{f"gbytes_{size}mb": gbytes(size) for size in SIZES_MB},
        }


if __name__ == "__main__":
    torch.set_num_threads(2)
    print(json.dumps(limits()))
