"""Clicklab: the library behind the notebooks, the pipeline and the service."""

import sys

__version__ = "0.1.0"

# jsonschema, which every notebook is read through, would compile a grammar of IRIs for two seconds of each process.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
