"""Process reward models: a score a reasoning step."""
