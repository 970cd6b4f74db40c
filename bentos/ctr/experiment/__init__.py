"""Variants, and which unit is assigned to which."""
