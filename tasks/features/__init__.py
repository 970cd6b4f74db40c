"""Derived features and statistics of the past: one function per module, found by its name, offline and in a request.

``from tasks.features import feature, statistic`` is all that a notebook needs to try one; docs/features.md tells how it
becomes part of a model.
"""

from tasks.features.kinds.declaration import DAY, HOUR, TIME, feature, statistic

__all__ = ["DAY", "HOUR", "TIME", "feature", "statistic"]
