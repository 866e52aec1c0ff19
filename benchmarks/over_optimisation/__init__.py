"""How far a reward can be trusted: proxy and gold against sqrt(KL), and what the brake saves."""
