"""Derived features: one function per module, found by its name, the same offline and in a request.

``from tasks.features import feature`` is all that a notebook needs to try one; docs/features.md tells how it
becomes part of a model.
"""

from tasks.features.kinds.declaration import DAY, HOUR, TIME, feature

__all__ = ["DAY", "HOUR", "TIME", "feature"]
