"""The linters of state machines that the tests hold against each other."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.infra.asl_lint import wrong_parameters

VERSION = "4.0.0"
_SCRIPT = """
const validate = require(process.argv[1]);
const texts = JSON.parse(require("fs").readFileSync(0, "utf8"));
console.log(JSON.stringify(texts.map((text) => {
  try {
    const found = validate(JSON.parse(text));
    return found.isValid ? "" : found.errorsText("; ") || "invalid";
  } catch (error) { return String(error.message || error); }
})));
"""


def installed_asl_validator(folder: Path) -> Path:
    """Return the npm package asl-validator, installed once below `folder`; skips without node or network."""
    package = folder / "node_modules" / "asl-validator"
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed; asl-validator needs them")
    if not (package / "package.json").is_file():
        command = ["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--silent"]
        try:
            done = subprocess.run(
                [*command, f"asl-validator@{VERSION}"], capture_output=True, text=True, timeout=180
            )
        except subprocess.TimeoutExpired:
            pytest.skip("npm gave no answer in three minutes")
        if done.returncode != 0:
            pytest.skip(f"npm could not install asl-validator: {done.stderr.strip()[-200:]}")
    return package


def asl_validator(package: Path, definitions: Sequence[str]) -> list[str]:
    """Return what asl-validator says of each definition, "" if nothing."""
    done = subprocess.run(
        ["node", "-e", _SCRIPT, str(package)],
        input=json.dumps(list(definitions)),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return json.loads(done.stdout)


def moto_parser(definition: str) -> str:
    """Return why moto's parser refuses a definition, "" if it does not."""
    from moto.stepfunctions.parser.models import StepFunctionsParserBackend

    try:
        StepFunctionsParserBackend._validate_definition(definition)
    except Exception as error:
        return str(error)[:500] or type(error).__name__
    return ""


def botocore_shapes(definition: str) -> str:
    """Return the parameters that no API has, "" if there are none."""
    try:
        return "; ".join(wrong_parameters(json.loads(definition)))
    except (KeyError, TypeError, AttributeError) as error:
        return f"{type(error).__name__}: {error}"
