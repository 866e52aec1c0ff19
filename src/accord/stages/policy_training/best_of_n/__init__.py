"""Best-of-n: the best of several responses to each prompt, as demonstrations to imitate."""
