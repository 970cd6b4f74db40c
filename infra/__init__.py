"""Deploying and running on AWS: infrastructure, images, the state machine, runs and releases."""
