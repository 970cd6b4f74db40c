"""Compiled loops that learn."""
