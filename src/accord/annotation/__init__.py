"""Agreement, aggregation, intervals: numbers only, no I/O."""
