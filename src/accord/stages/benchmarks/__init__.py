"""Benchmarks: suites of questions that a model answers, graded by their official procedures."""
