"""Readers of formats, the chat template, masking and packing."""
