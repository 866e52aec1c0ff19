"""SimPO: learn from comparisons by the mean log-prob of a token."""
