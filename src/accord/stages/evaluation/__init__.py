"""Evaluation: policies on the same held-out prompts, by scorers that trained none of them."""
