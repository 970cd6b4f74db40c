"""The service and named peers under load: ``python -m bench.serving``; see README.md, one folder up."""
