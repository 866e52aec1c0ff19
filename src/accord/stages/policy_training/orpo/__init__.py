"""ORPO: imitate the better response and push the worse one away, in one stage."""
