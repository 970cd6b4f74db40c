"""Side-by-side measurements against named peers; see README.md in this folder."""
