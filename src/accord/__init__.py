"""Accord: the whole RLHF loop in one install, from a base model to an aligned one and a report."""

__version__ = "0.1.0"
