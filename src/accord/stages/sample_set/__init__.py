"""The sample set of the quickstart, written into a run directory."""
