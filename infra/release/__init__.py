"""Deployments and releases of the service."""
