"""How the pipeline is run: checks, the code behind a task, executor, build, hooks, doctor."""

import sys

# Ploomber reads notebooks through jsonschema, which would spend two seconds of each process on compiling a grammar
# of IRIs that no notebook has; so this stands before the first import of Ploomber.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
