"""Attacks on one's own models, what counts as their success, and what becomes of it."""
