"""Deployment: a model that passed its gate, behind a local alias."""
