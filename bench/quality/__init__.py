"""Log loss against processor time: ours and named peers, each tuned, on the same rows (``python -m bench.quality``)."""
