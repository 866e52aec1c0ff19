"""Loading, heads, LoRA, log-probs, checkpoints of models."""
