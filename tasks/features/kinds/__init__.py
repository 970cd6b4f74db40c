"""The kinds of features: how one is declared, found by its name, and known by its source."""
