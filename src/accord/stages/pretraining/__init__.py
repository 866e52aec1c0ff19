"""Pre-training: a base model from plain text and conversations."""
