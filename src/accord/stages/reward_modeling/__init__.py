"""Reward modelling: from comparisons to a scalar score."""
