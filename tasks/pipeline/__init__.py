"""How the pipeline is run: knobs, lineage, executor, build, hooks, doctor."""
