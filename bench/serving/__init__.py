"""The service against named peers, under load: ``python -m bench.serving``; see README.md, one folder up."""
