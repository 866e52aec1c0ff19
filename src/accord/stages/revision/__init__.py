"""Revision: a model criticises and rewrites its own responses by a constitution's principles."""
