"""Epochs over batches, search, checkpoints, sampling."""
