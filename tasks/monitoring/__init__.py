"""What happened to the answers: clicks joined to exposures, quality, drift of inputs, alerts."""
