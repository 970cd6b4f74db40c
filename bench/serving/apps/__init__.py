"""The peers' servers; each runs in a process of its own."""
