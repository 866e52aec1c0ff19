"""Oversight: what a critique or a debate does for a weak judge, where the answer is known."""
