"""REINFORCE++: returns with a KL penalty a token, normalised over the whole batch."""
