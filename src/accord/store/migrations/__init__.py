"""Schema changes, numbered; each is applied once, and never edited after a release."""
