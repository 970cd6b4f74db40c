"""A deployment's variables, from a ``*.tfvars.json`` file: the part of Terraform's input that the verbs read as well."""

import json
from pathlib import Path
from typing import Any

from infra.release.terraform_cli import FOLDER
from tasks.errors import ConfigError

ENDING = ".tfvars.json"
# The verbs know no defaults, so that variables.tf is the only place that has them.
NEEDED = (
    "architecture",
    "deletion_protection",
    "environment",
    "interface_endpoints",
    "internet_access",
    "name",
    "region",
    "service_size",
    "service_tasks",
    "serving",
    "tracking",
    "tracking_size",
    "zones",
)


def variables_file(name: str) -> Path:
    """Return the file of an environment, by its name or path; ConfigError if there is none."""
    path = Path(name) if "." in name else FOLDER / f"{name}{ENDING}"
    if not path.name.endswith(ENDING):
        raise ConfigError(f"{path}: variables are read from a file named *{ENDING}")
    if not path.is_file():
        files = (found.name for found in FOLDER.glob(f"*{ENDING}"))
        known = sorted(file.removesuffix(ENDING) for file in files if ".auto." not in file)
        raise ConfigError(f"{path} does not exist; there are {', '.join(known) or 'none'}")
    return path.resolve()


def read_variables(path: Path) -> dict[str, Any]:
    """Return the variables of a file.

    Raises
    ------
    ConfigError
        If it is not a JSON object, or if something that the verbs read is missing or empty.
    """
    try:
        values = dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"{path.name}: not a JSON object of variables ({error})") from None
    if missing := [name for name in NEEDED if values.get(name) in (None, "")]:
        raise ConfigError(
            f"{path.name} does not set {', '.join(missing)}; copy those lines from small{ENDING}"
        )
    return values
