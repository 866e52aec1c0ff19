"""Text generation: the local sampler and a scripted double for tests."""
