"""Preferences: sample responses, pair them, gather judgements, export comparisons."""
