"""Metrics, bootstrap, comparison on the same rows, gates, importance."""
