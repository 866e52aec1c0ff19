"""The same work by Accord and by a peer, interleaved in one run: see `run.py`."""
