"""The chance that one of k samples passes, from n samples of which c passed."""

import math


def pass_at_k(samples: int, passed: int, k: int) -> float:
    """Unbiased estimate of the probability that at least one of k samples passes.

        1 - C(n - c, k) / C(n, k)  =  1 - prod_{i = n-c+1..n} (1 - k / i)

    The product has no large numbers in it.

    Source: Chen et al. 2021, arXiv:2107.03374, equation 1 and figure 3.

    Args:
        samples: n, drawn independently.
        passed: c, in 0..n.
        k: in 1..n.

    Raises:
        ValueError: k or c is out of its range (with fewer than k samples there is no estimate).
    """
    if not 0 <= passed <= samples or not 1 <= k <= samples:
        raise ValueError(f"pass@{k} of {samples} samples with {passed} passes is not defined")
    if samples - passed < k:
        return 1.0
    return 1.0 - math.prod(1.0 - k / i for i in range(samples - passed + 1, samples + 1))
