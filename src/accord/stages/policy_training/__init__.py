"""Policy training: one visible loop a method."""
