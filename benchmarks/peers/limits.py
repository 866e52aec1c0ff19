"""The machine's two limits, measured: matrix products by precision, and memory bandwidth."""

import json
import time

import torch


def best(work: object, amount: float) -> float:
    """Amount a second, in the fastest of a few repetitions."""
    fastest = float("inf")
    for _ in range(7):
        start = time.perf_counter()
        work()  # type: ignore[operator]
        fastest = min(fastest, time.perf_counter() - start)
    return amount / fastest


def limits() -> dict[str, float]:
    """GFLOP/s of float32 (by BLAS and by oneDNN) and bfloat16 products, GB/s of a copy."""
    n = 1024
    a, b = torch.randn(2 * n, n), torch.randn(n, n)
    half = a.bfloat16(), b.bfloat16()
    flops = 2 * 2 * n * n * n / 1e9
    source = torch.empty(2**25)
    target = torch.empty_like(source)
    return {
        "float32_blas_gflops": best(lambda: a @ b, flops),
        "float32_onednn_gflops": best(
            lambda: torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], ""), flops
        ),
        "bfloat16_gflops": best(lambda: half[0] @ half[1], flops),
        "copy_gbytes": best(lambda: target.copy_(source), 2 * source.numel() * 4 / 1e9),
    }


if __name__ == "__main__":
    torch.set_num_threads(2)
    print(json.dumps(limits()))
