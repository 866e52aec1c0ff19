"""GRPO and its corrections: a response's advantage is over the other responses to its prompt."""
