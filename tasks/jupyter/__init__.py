"""Notebooks as people use them: opened in JupyterLab, run by hand, kept in git."""

import tasks.pipeline  # noqa: F401  what it does before the first import of Ploomber saves JupyterLab two seconds
