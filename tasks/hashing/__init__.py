"""Rows to fixed-width codes: the same code for training rows and for the live request."""
