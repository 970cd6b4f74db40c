"""Slow, obvious twins of what the library does fast; each builder of a fast path adds its own."""
