"""Judges that say which of two responses is the better."""
