"""The way to AWS: what is run there, what it costs, and a rehearsal of all of it on one machine."""
