"""The contestants: each module is a process of its own; all but `ours` run in the peers' environment."""
