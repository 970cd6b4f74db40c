"""A training without a model: rows that teach nothing, or a learner that diverges on them.

The other models are trained and compared all the same, so this is a result of the training task, with its reason, and
no failure of the run. Everything else that goes wrong is a failure.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tasks.errors import DegenerateError, DivergenceError
from tasks.storage.files import write_atomic
from tasks.storage.workspace import is_scratch, resolve


@contextmanager
def refused_without_model(name: str, product: Mapping[str, Any]) -> Iterator[None]:
    """End the notebook, as a success, where the block finds that there can be no model.

    The reason goes to the products in place of a result and a model. Run by hand, the error is shown as it is.

    Parameters
    ----------
    name
        The model's name.
    product
        ``result`` and ``model``, where they are written.
    """
    try:
        yield
    except (DegenerateError, DivergenceError) as error:
        if is_scratch(product["result"]):
            raise
        reason = str(error)
        nothing = {"run_id": None, "version": None, "train_seconds": None}
        write_atomic(resolve(product["model"]), json.dumps({"name": name, "refused": reason}))
        result = {"name": name, "refused": reason, **nothing}
        write_atomic(resolve(product["result"]), json.dumps(result, indent=2))
        sys.stdout.write(f"There is no model {name}: {reason}\n")
        sys.exit(0)  # papermill ends the notebook here, without an error


def require_both_labels(rows: Any, what: str = "training") -> None:
    """Raise DegenerateError if rows hold one label only, so that nothing can be learned from them."""
    if 0 < rows.label_rate < 1:
        return
    found = "no click" if rows.label_rate == 0 else "nothing but clicks"
    raise DegenerateError(
        f"there is {found} among the {rows.n_rows:,} {what} rows, so nothing can be learned from them; "
        "take a longer log"
    )
