"""KTO: learn from responses that are each called good or bad."""
