"""The hash contract; rows to codes; feature files."""
