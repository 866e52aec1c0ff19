"""Monitors that notice when a policy games its reward, and the brake that they pull."""
