"""Runs on AWS: submit, follow, resume, stop."""
