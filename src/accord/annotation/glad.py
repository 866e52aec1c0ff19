"""Votes on tasks of which some are hard: annotators' ability and tasks' ease, learned together."""

from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_expit

from accord.annotation.aggregation import Labels
from accord.annotation.tables import Floats, Votes

_PRIOR = 1.0
"""Mean of abilities and log-eases, whose deviation is 1: most people can tell, on most tasks."""


class Glad(NamedTuple):
    """What the votes say, and of whom and of what they say it.

    `ability` is (annotators,): 0 guesses, below 0 is wrong on purpose. `ease` is (tasks,), above 0:
    near 0, everybody guesses.
    """

    labels: Labels
    ability: Floats
    ease: Floats


def glad(votes: Votes, *, max_steps: int = 500, tolerance: float = 1e-7) -> Glad:
    """The able are right more often, and everybody is on easy tasks.

        P(vote is right) = sigmoid(ability_a ease_t); errors go to all other labels alike

    Abilities and log-eases have normal priors of mean 1 and deviation 1, labels a uniform one; by
    expectation and maximisation. Needs several votes a task: an ease stands for each.

    Source: Whitehill et al. 2009, "Whose vote should count more".

    Args:
        votes: of any labels.
        max_steps: of expectation and maximisation.
        tolerance: largest change of a probability that ends it.

    Raises:
        ValueError: there is one label alone.
    """
    if len(votes.categories) < 2:
        raise ValueError("one label alone cannot be wrong; name all categories")
    parameters = np.full(len(votes.annotators) + len(votes.tasks), _PRIOR)
    probabilities, step = _posterior(votes, parameters), 0
    while step < max_steps:
        step += 1
        right = probabilities[votes.task, votes.label]
        parameters = _maximised(votes, right, parameters)
        before, probabilities = probabilities, _posterior(votes, parameters)
        if np.abs(probabilities - before).max() < tolerance:
            break
    ability, log_ease = np.split(parameters, [len(votes.annotators)])
    quality = votes.mean_by_annotator(probabilities[votes.task, votes.label])
    return Glad(Labels(probabilities, quality, step), ability, np.exp(log_ease))


def _posterior(votes: Votes, parameters: Floats) -> Floats:
    """(tasks, labels), under a uniform prior."""
    others = np.log(len(votes.categories) - 1)
    logs = np.zeros((len(votes.tasks), len(votes.categories)))
    # All labels share the term of a wrong vote, which normalisation removes: log-odds are left.
    np.add.at(logs, (votes.task, votes.label), _margins(votes, parameters) + others)
    found: Floats = np.exp(logs - logs.max(1, keepdims=True))
    found /= found.sum(1, keepdims=True)
    return found


def _maximised(votes: Votes, right: Floats, start: Floats) -> Floats:
    """Abilities and log-eases that make votes, right with probability `right`, the likeliest."""
    count = len(votes.annotators)

    def negative(parameters: Floats) -> tuple[float, Floats]:
        margin = _margins(votes, parameters)
        value = -(right * log_expit(margin) + (1 - right) * log_expit(-margin)).sum()
        slope = expit(margin) - right
        ease = np.exp(parameters[count:])[votes.task]
        gradient = parameters - _PRIOR
        np.add.at(gradient, votes.annotator, slope * ease)
        np.add.at(gradient, count + votes.task, slope * margin)
        return float(value + np.square(parameters - _PRIOR).sum() / 2), gradient

    options = {"ftol": 1e-14, "gtol": 1e-9, "maxiter": 1000}
    found: Floats = minimize(negative, start, jac=True, method="L-BFGS-B", options=options).x
    return found


def _margins(votes: Votes, parameters: Floats) -> Floats:
    """(N,) log-odds that a vote is right."""
    ability, log_ease = np.split(parameters, [len(votes.annotators)])
    found: Floats = ability[votes.annotator] * np.exp(log_ease)[votes.task]
    return found
