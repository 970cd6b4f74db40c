"""A simulated ad log with known click probabilities."""
