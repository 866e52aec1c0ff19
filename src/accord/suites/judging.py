"""What judges said, as a suite's figures."""

import numpy as np

from accord.annotation.judge_bias import JudgeBias
from accord.annotation.win_rates import WinRate
from accord.suites.base import Figure


def win_rate_figure(found: WinRate) -> Figure:
    """A win rate as a suite reports it."""
    return Figure(found.rate, found.low, found.high, found.prompts, found.standard_error)


def bias_figures(bias: JudgeBias) -> dict[str, Figure]:
    """What a judge prefers besides quality: shares, of which 1/2 is no preference."""
    figures = {
        "judge_consistency": Figure(*bias.consistency, bias.pairs),
        "judge_first_share": Figure(*bias.first_share, bias.pairs),
    }
    for name, preference in {"longer": bias.length, "own": bias.own}.items():
        if preference is not None:
            share, low, high = (1 / (1 + np.exp(-x)) for x in preference[:3])
            figures[f"judge_{name}_share"] = Figure(share, low, high, bias.pairs)
    return figures


def number_or_none(value: float) -> float | None:
    """None for NaN (an abstention), which JSON does not have."""
    return None if np.isnan(value) else float(value)
