"""Raw logs to the canonical one; rows that cannot be used go to quarantine."""
