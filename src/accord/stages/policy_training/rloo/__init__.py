"""RLOO: REINFORCE with the other responses' mean score as the baseline."""
