"""What makes a run's model folder a model of MLflow's own: ``MLmodel``, signature, example, the library's code.

The files lie beside ``model.json``, whose readers ignore them. No pickle: MLflow imports the loader
(:mod:`tasks.models.pyfunc_model`), which reads arrays and JSON.
"""

import logging
import shutil
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from tasks.hashing.contract import HashContract
from tasks.hashing.encode import columns_of
from tasks.models import pyfunc_model
from tasks.models.artifact import load_model
from tasks.registry.mlflow_store import MODEL_PATH
from tasks.schema import Schema

_LIBRARY = Path(__file__).parents[1]
_CODE = (
    "__init__.py",
    "errors.py",
    "schema.py",
    "storage",
    "logs",
    "features",
    "hashing",
    "schemas",
    "models",
)
_NEEDS = ("mlflow", "numba", "numpy", "pandas", "pyarrow", "pyyaml")


def log_mlflow_files(
    client: Any, run_id: str, folder: str | Path, *, path: str = MODEL_PATH
) -> None:
    """Store beside the model of a run what MLflow needs to load it; `folder` was written by ``save_model``."""
    with tempfile.TemporaryDirectory(prefix="clicklab-mlmodel-") as place:
        target = Path(place) / "model"
        write_mlflow_files(folder, target, run_id=run_id, path=path)
        client.log_artifacts(run_id, str(target), path)


def write_mlflow_files(
    folder: str | Path, target: Path, *, run_id: str | None = None, path: str = MODEL_PATH
) -> None:
    """Write the files for a model folder into `target`, which must not exist yet.

    Raises
    ------
    InputError, ContractError
        If `folder` holds no readable model.
    """
    model = load_model(folder)
    with tempfile.TemporaryDirectory(prefix="clicklab-code-") as code, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's, about its own code and how pandas writes JSON
        import mlflow.pyfunc
        from mlflow.models import Model

        # environments made by uv hold no pip, and MLflow says so for each model
        logging.getLogger("mlflow.utils.environment").setLevel(logging.ERROR)
        mlflow.pyfunc.save_model(
            str(target),
            loader_module=pyfunc_model.__name__,
            code_paths=[str(_copy_library(Path(code)))],
            mlflow_model=Model(artifact_path=path, run_id=run_id),
            signature=_signature(model.contract),
            input_example=_example(model.contract),
            pip_requirements=[
                f"{name}=={version(name)}" for name in sorted({*_NEEDS, *model.packages})
            ],
            metadata={"clicklab_version": model.version, "kind": model.kind},
        )


def _signature(contract: HashContract) -> Any:
    """Return inputs of any type that has tokens, none of them required, and a probability per row."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType
    from mlflow.types import Schema as Columns
    from mlflow.types.schema import AnyType

    inputs: Any = [ColSpec(AnyType(), name, required=False) for name in columns_of(contract)]
    return ModelSignature(Columns(inputs), Columns([ColSpec(DataType.double)]))


def _example(contract: HashContract) -> pd.DataFrame:
    row = Schema.from_dict(contract.schema).example_row()
    return pd.DataFrame([{name: row[name] for name in columns_of(contract)}])


def _copy_library(place: Path) -> Path:
    """Copy the rooms that loading and predicting need, and return the package's folder."""
    package = place / _LIBRARY.name
    for name in _CODE:
        source = _LIBRARY / name
        for path in sorted(source.rglob("*.py")) if source.is_dir() else [source]:
            copy = package / path.relative_to(_LIBRARY)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
    return package
