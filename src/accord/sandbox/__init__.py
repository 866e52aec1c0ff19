"""The one place where untrusted Python runs; docs/design/0009-sandbox.md says how and why."""
