"""What is told of a finished model: its card, and the hub."""
