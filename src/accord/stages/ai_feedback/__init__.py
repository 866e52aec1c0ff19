"""AI feedback: a model judges into the same store as people, and on to training."""
