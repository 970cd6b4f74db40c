"""The knobs of a run: declared, in words, read and checked; models and their training tasks."""
