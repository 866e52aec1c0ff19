"""Red team: attacks on a model, what they show, and training data from what got through."""
