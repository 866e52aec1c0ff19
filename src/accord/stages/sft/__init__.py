"""Supervised fine-tuning: imitate demonstrations."""
