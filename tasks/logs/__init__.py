"""Logs of impressions: the canonical log on disk, reading raw ones, splits, profile, exploration."""
