"""Clicklab: the library behind the notebooks, the pipeline and the service."""

__version__ = "0.1.0"
