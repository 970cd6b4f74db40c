"""The parts of the simulated ad log; :mod:`tasks.simulate` puts them together."""
