"""Judgements that were made elsewhere: one file a format, each from a row to entries."""
