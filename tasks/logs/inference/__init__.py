"""A first schema for a log that nobody has described yet: a sample of its rows, what they say, and the file to edit."""
