"""PPO: a policy, its value, and a KL penalty to a frozen reference."""
