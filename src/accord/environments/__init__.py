"""What answers a policy, for serving and for training alike; docs/design/0015 says how."""
