"""The declared knobs are those of env.yaml, and their domains those of the code, MLflow and BentoML that use them."""

import pytest
import yaml
from pydantic import ValidationError

from tasks.errors import ConfigError
from tasks.evaluation.gates import Gates
from tasks.hashing.contract import HashContract
from tasks.knobs import declaration, searches
from tasks.knobs.domain import all_knobs
from tasks.knobs.reading import read_env
from tasks.logs.split import split_log
from tasks.schema import load_schema
from tasks.training import search
from tasks.training.halving import halving_plan
from tasks.training.sampling import checked_rate
from tasks.validate import DEFAULTS
from tests.conftest import ROOT
from tests.tasks.knobs.test_reading import env_file

ONLY_AWS = {"aws", "fargate"}


def names_of(mapping, before=""):
    """Return the dotted names in a mapping, those within models and lists left out."""
    found = set()
    for key, value in mapping.items():
        found.add(f"{before}{key}")
        if isinstance(value, dict) and key not in ("models", *ONLY_AWS):
            found |= names_of(value, f"{before}{key}.")
    return found


def test_every_knob_is_in_env_yaml_and_every_key_of_it_is_a_knob():
    """In both directions; the sections of AWS are in env.aws.yaml."""
    assert names_of(yaml.safe_load((ROOT / "env.yaml").read_text())) == set(all_knobs()) - ONLY_AWS
    assert set(yaml.safe_load((ROOT / "env.aws.yaml").read_text())) >= ONLY_AWS


def accepts(folder, old, new):
    """Return whether a changed env.yaml is accepted."""
    try:
        read_env(env_file(folder, (old, new)))
    except ConfigError:
        return False
    return True


def passes(function, *arguments, **named):
    """Return whether the code that uses a value takes it."""
    try:
        function(*arguments, **named)
    except ConfigError:
        return False
    except AttributeError:  # past the check, where a real argument would be needed
        return True
    return True


@pytest.mark.parametrize("bits", [-1, 0, 1, 30, 31])
def test_the_bits_are_those_of_the_contract(tmp_path, bits):
    """Its own check is the witness."""
    taken = passes(HashContract.from_schema, load_schema("avazu"), bits=bits)
    assert accepts(tmp_path, "bits: 20", f"bits: {bits}") is taken


@pytest.mark.parametrize("share", [0.0, 0.1, 0.89, 0.9, 0.95, 1.0])
def test_the_shares_are_those_of_the_split(tmp_path, share):
    """Both above 0, together below 1."""
    taken = passes(split_log, None, valid_share=0.1, test_share=share)
    assert accepts(tmp_path, "test_share: 0.1", f"test_share: {share}") is taken


@pytest.mark.parametrize("rate", [-0.1, 0.0, 1e-3, 1.0, 1.1])
def test_the_rate_is_that_of_training(tmp_path, rate):
    """Above 0, at most 1."""
    taken = passes(checked_rate, rate)
    assert accepts(tmp_path, "negative_rate: 1.0", f"negative_rate: {rate}") is taken


def test_the_gates_and_checks_are_those_of_the_code():
    """A limit that is added there is a knob here."""
    assert set(declaration.Gates.model_fields) == set(Gates.__dataclass_fields__)
    assert set(declaration.Checks.model_fields) == set(DEFAULTS)


def test_the_searches_know_the_keys_of_the_code():
    """By method."""
    sections = {
        "halving": searches.Halving, "fixed": searches.Fixed, "grid": searches.Grid, "optuna": searches.Optuna,
    }  # fmt: skip
    assert {name: set(section.model_fields) for name, section in sections.items()} == search._KEYS
    assert searches.Grid.model_fields["max_rows"].default == search._MAX_ROWS
    assert searches.Grid.model_fields["max_epochs"].default == search._MAX_EPOCHS
    halving = halving_plan({}, 400_000)
    assert halving.pop("max_rows") == 100_000
    assert all(searches.Halving.model_fields[key].default == halving[key] for key in halving)


@pytest.mark.parametrize("text", ["1", "yes", "1.0", None, [1], {"a": 1}, float("nan")])
def test_nothing_is_converted(text):
    """Text is no number, true is no 1."""
    with pytest.raises(ValidationError):
        declaration.Hash.model_validate({"bits": text, "batch_rows": 1, "trial_rows": 1})
    with pytest.raises(ValidationError):
        declaration.Ingest.model_validate({"max_bad_share": True})


# ---- names, as MLflow and BentoML have them

NAMES = [
    "ctr", "ctr_tiny", "a-b.c", "My Shop", "acme/shop", "Shop", "a:b", "", " ", ".", "..", "-a", "a-", "_a", "é",
    "a" * 63, "a" * 64, "a" * 500, "a" * 501, "a\nb", "a=b", "a*b", "../x", "/x", "0", "A" * 100, "A" * 101,
]  # fmt: skip


def taken_by_bentoml(name):
    """Return whether BentoML takes a name for a tag."""
    from bentoml import Tag
    from bentoml._internal.tag import validate_tag_str

    try:
        validate_tag_str(name)
        return Tag(name).name == name
    except ValueError:
        return False


@pytest.mark.parametrize("name", NAMES)
def test_a_bento_name_is_taken_exactly_if_bentoml_takes_it(tmp_path, name):
    """It is asked itself."""
    text = yaml.safe_dump({"name": name}, default_flow_style=True, allow_unicode=True, width=10_000)
    assert accepts(tmp_path, "{name: ctr}", text.strip()) is taken_by_bentoml(name)


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """A real store."""
    from tasks.registry.mlflow_store import connect

    return connect(f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db")


def taken_by_mlflow(create, name):
    """Return whether MLflow takes a name."""
    from mlflow.exceptions import MlflowException

    try:
        create(name)
    except MlflowException as error:
        assert "INVALID_PARAMETER_VALUE" in error.error_code, error
        return False
    return True


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_name_that_passes_is_taken_by_mlflow(tmp_path, client, name):
    """And one that MLflow refuses does not pass."""
    text = f"experiment: {yaml.safe_dump(name, default_style=chr(34), width=10_000).strip()}"
    assert accepts(tmp_path, "experiment: ctr", text) is taken_by_mlflow(
        client.create_experiment, name
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_schema_name_that_passes_is_taken_by_mlflow(tmp_path, client, name):
    """The registered model has it; letters, digits and . _ - are all that a schema's name may have."""
    from tasks.registry.mlflow_store import registered_name

    path = tmp_path / "shop.yaml"
    declared = {
        "name": name,
        "label": "y",
        "time": {"column": "t", "format": "iso"},
        "fields": {"a": {}},
    }
    path.write_text(yaml.safe_dump(declared))
    try:
        schema = load_schema(path)
    except ConfigError as error:
        assert str(error).startswith(f"{path}:")
        return
    assert taken_by_mlflow(client.create_registered_model, registered_name(schema))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_model_name_that_passes_is_one_for_files_tasks_and_mlflow(tmp_path, client, name):
    """It is part of a task's name, which AWS limits, of file names, and a parameter of a run."""
    from infra.state_machine.dag import order

    text = yaml.safe_dump(name, default_style='"', width=10_000).strip()
    block = "{kind: ftrl, params: {}, search: {method: fixed}}"
    if not accepts(tmp_path, "  fm:\n", f"  {text}: {block}\n  fm:\n"):
        return
    assert [task.name for task in order({f"train-{name}": ()})] == [f"train-{name}"]
    assert (tmp_path / f"train-{name}.json").resolve().parent == tmp_path.resolve()
    run = client.create_run(client.create_experiment(f"of {name}"))
    client.log_param(run.info.run_id, "model", name)


@pytest.mark.parametrize("field", ["a=b", "a*b", ""])
def test_a_field_that_tokens_cannot_have_is_refused_with_its_line(tmp_path, field):
    """The contract would refuse it after the log was read."""
    path = tmp_path / "shop.yaml"
    declared = {"fields": {"ok": {}, field: {}}, "label": "y", "name": "shop"}
    path.write_text(
        yaml.safe_dump(declared | {"time": {"column": "t", "format": "iso"}}, sort_keys=False)
    )
    line = next(
        n for n, row in enumerate(path.read_text().splitlines(), 1) if field in row and n > 2
    )
    with pytest.raises(ConfigError, match=rf"shop\.yaml:{line}: .* field name") as caught:
        load_schema(path)
    assert "\n" not in str(caught.value)
