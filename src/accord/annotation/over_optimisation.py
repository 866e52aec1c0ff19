"""What optimising a proxy does to the truth behind it: curves over the distance from the start.

Distances are d = sqrt(KL) in sqrt(nats). All curves begin at a gain of 0.
"""

import math
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Form = Literal["best_of_n", "rl"]


class Curve(NamedTuple):
    """A fitted gain R(d), by one of two forms.

        best_of_n:  R(d) = d (alpha - beta d),     highest at alpha / (2 beta)
        rl:         R(d) = d (alpha - beta ln d),  highest at exp(alpha / beta - 1)

    Source: Gao, Schulman and Hilton 2023, arXiv:2210.10760, section 3.1.
    """

    form: Form
    alpha: float
    beta: float
    covariance: Floats
    """(2, 2) of alpha and beta"""

    @property
    def peak(self) -> float:
        """The distance at which R is highest; infinite where it only rises, 0 where it only falls.

        The slope of `rl` at 0 is infinite for any beta above 0, so its peak is never exactly 0.
        """
        if self.beta <= 0:
            return math.inf
        if self.form == "best_of_n":
            return max(0.0, self.alpha / (2 * self.beta))
        exponent = self.alpha / self.beta - 1
        return math.exp(exponent) if exponent < 700 else math.inf

    def gain(self, distances: npt.ArrayLike) -> Floats:
        """R at (N,) distances."""
        found: Floats = _basis(self.form, _checked(distances)) @ np.array([self.alpha, self.beta])
        return found

    def slope(self, distance: float) -> tuple[float, float]:
        """dR/dd at a distance above 0, and its standard error."""
        falls = 2 * distance if self.form == "best_of_n" else 1 + math.log(distance)
        weights = np.array([1.0, -falls])
        value = float(weights @ np.array([self.alpha, self.beta]))
        variance = float(weights @ self.covariance @ weights)
        return value, math.sqrt(max(variance, 0.0))


def fit_curve(distances: npt.ArrayLike, gains: npt.ArrayLike, *, form: Form) -> Curve:
    """The curve nearest to the points by ordinary least squares (both forms are linear in alpha
    and beta); its covariance is from the residuals.

    Args:
        distances: (N,) sqrt(nats), 0 and above.
        gains: (N,) of the score over that of the start.

    Raises:
        ValueError: fewer than three points, negative distances, or too few different ones.
    """
    d, y = _checked(distances), np.asarray(gains, dtype=np.float64)
    if len(d) != len(y) or len(d) < 3:
        raise ValueError(f"expected three points or more, got {len(d)} and {len(y)}")
    basis = _basis(form, d)
    solution, _, rank, _ = np.linalg.lstsq(basis, y, rcond=None)
    if rank < 2:
        raise ValueError("expected two different distances above 0, to tell alpha from beta")
    residual = y - basis @ solution
    covariance = np.linalg.inv(basis.T @ basis) * float(residual @ residual) / (len(d) - 2)
    return Curve(form, float(solution[0]), float(solution[1]), covariance)


def best_of_n_kl(n: int) -> float:
    """KL in nats of the best of n to one draw, where no two draws are equal: ln n - (n - 1) / n.

    Source: Stiennon et al. 2020, arXiv:2009.01325, appendix G.3.
    """
    if n < 1:
        raise ValueError(f"n must be 1 or more, got {n}")
    return math.log(n) - (n - 1) / n


def best_of_n_weights(scores: npt.ArrayLike, n: int) -> Floats:
    """(N,) the probability that each of N responses is the best of n draws with replacement.

        w_(i) = (i / N)^n - ((i - 1) / N)^n for the i-th lowest score; equal scores share theirs

    Args:
        scores: (N,) by which the best is chosen.
        n: draws, 1 or more.
    """
    x = np.asarray(scores, dtype=np.float64)
    if len(x) == 0 or n < 1:
        raise ValueError(f"expected scores and n of 1 or more, got {len(x)} scores, n = {n}")
    values, group, sizes = np.unique(x, return_inverse=True, return_counts=True)
    reached = np.cumsum(sizes) / len(x)
    mass = np.diff(np.concatenate([[0.0], reached**n]))
    found: Floats = (mass / sizes)[group]
    assert len(values) == len(mass)
    return found


def best_of_subset_weights(scores: npt.ArrayLike, counts: npt.ArrayLike, n: int) -> Floats:
    """(M,) the probability that each of M different responses is the best of n, drawn without
    replacement from a pool of N = sum(counts).

        w_(i) = [C(B_i, n) - C(A_i, n)] / C(N, n)

    with B_i draws that score at most as much as response i, and A_i that score less; responses of
    equal scores share by their counts. If the pool was drawn from a policy, sum_i w_i f_i is an
    unbiased estimate of f's mean over the policy's best of n, for any f.

    Args:
        scores: (M,) by which the best is chosen.
        counts: (M,) how often each response was drawn, 1 or more.
        n: draws, from 1 to N.

    Raises:
        ValueError: n is out of range, or the arguments do not fit.
    """
    below, upto, share, total = _ranked(scores, counts)
    if not 1 <= n <= total:
        raise ValueError(f"n must be from 1 to the {total} draws of the pool, got {n}")
    found: Floats = (_chance_within(upto, n, total) - _chance_within(below, n, total)) * share
    return found


def best_of_subset_kl(
    scores: npt.ArrayLike, counts: npt.ArrayLike, logprobs: npt.ArrayLike, n: int
) -> float:
    """KL in nats of the best of n to the policy, estimated from a pool that it drew.

        ln n - (n - 1) / n - sum_i w_i D(1 - p_i / b_i),
        D(r) = ln(n (1 - r) / (1 - r^n)) - (n - 1) (r^n ln r / (1 - r^n) + 1 / n)

    The first two terms are the KL where no two draws are equal. A response of probability p_i is
    drawn more than once, and which of its draws is chosen tells nothing: D is the KL that would be
    counted for it, if b_i is the probability of scoring at most as much (here B_i / N). Different
    responses that score alike count as one, whose probability is their share of the pool.

    Args:
        scores: as in `best_of_subset_weights`, as are counts, n and errors.
        logprobs: (M,) ln p_i under the policy, in nats.
    """
    weights = best_of_subset_weights(scores, counts, n)
    below, upto, share, total = _ranked(scores, counts)
    alone = np.exp(np.asarray(logprobs, dtype=np.float64))
    probability = np.where(share == 1, alone, (upto - below) / total)
    r = np.clip(1 - probability * total / upto, 0.0, 1 - 1e-12)
    power = r**n
    shrunk = power * np.log(np.where(r > 0, r, 1.0)) / (1 - power)
    repeated = np.log(n * (1 - r) / (1 - power)) - (n - 1) * (shrunk + 1 / n)
    return best_of_n_kl(n) - float(weights @ repeated)


def _ranked(scores: npt.ArrayLike, counts: npt.ArrayLike) -> tuple[Counts, Counts, Floats, int]:
    """(M,) draws that score less, and at most as much; a response's share of those that score as
    much; and how many draws there are."""
    x, c = np.asarray(scores, dtype=np.float64), np.asarray(counts, dtype=np.int64)
    if len(x) != len(c) or len(x) == 0 or not (c >= 1).all():
        raise ValueError(f"expected counts of 1 or more for {len(x)} scores, got {len(c)}")
    _, group = np.unique(x, return_inverse=True)
    sizes = np.zeros(group.max() + 1, dtype=np.int64)
    np.add.at(sizes, group, c)
    upto = np.cumsum(sizes)
    return (upto - sizes)[group], upto[group], c / sizes[group], int(c.sum())


def _chance_within(size: Counts, n: int, total: int) -> Floats:
    """C(size, n) / C(total, n)."""
    fits = size >= n
    held = np.where(fits, size, n)
    logs = gammaln(held + 1) - gammaln(held - n + 1) - gammaln(total + 1) + gammaln(total - n + 1)
    return np.where(fits, np.exp(logs), 0.0)


def kl_of_weights(weights: npt.ArrayLike) -> float:
    """KL in nats of a choice among N responses to one that takes each alike; at most ln N."""
    w = np.asarray(weights, dtype=np.float64)
    held = w[w > 0]
    return max(0.0, float((held * np.log(held * len(w))).sum()))  # rounding may go below


def _basis(form: Form, d: Floats) -> Floats:
    """(N, 2), so that the gain is the basis times (alpha, beta)."""
    bend = d**2 if form == "best_of_n" else d * np.log(np.where(d > 0, d, 1.0))
    return np.stack([d, -bend], axis=1)


def _checked(distances: npt.ArrayLike) -> Floats:
    d = np.asarray(distances, dtype=np.float64)
    if not (d >= 0).all():
        raise ValueError(f"distances are square roots, got {d.min()}")
    return d
