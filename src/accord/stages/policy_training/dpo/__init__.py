"""DPO: learn from comparisons directly."""
