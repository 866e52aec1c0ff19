"""Benchmarks: what is asked of a model, and how what it answers is graded."""
