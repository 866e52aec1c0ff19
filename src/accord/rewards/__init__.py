"""Scores of whole responses: learned, and by functions; all implement `core.interfaces.Reward`."""
