"""The one place where untrusted Python runs; docs/design/0010-sandbox.md says how and why."""
