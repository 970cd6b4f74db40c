"""The life of a model in the service: source, admission, swap."""
