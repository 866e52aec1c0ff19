"""What every loop shares, as functions: batches, the optimizer step, train state."""
