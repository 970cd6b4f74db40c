"""The experiment's file: its keys, and one line for everything else."""

import pytest
import yaml

from bentos.ctr.experiment.declaration import Variant, load_experiment
from tasks.errors import ConfigError
from tasks.schema import Schema, load_schema
from tests.conftest import ROOT

SHIPPED = ROOT / "bentos" / "ctr" / "experiment.yaml"
MODELS = {"champion", "challenger", "fm_next"}
PLAIN = {
    "name": "trial",
    "salt": "pepper",
    "unit": ["device_id", "device_ip"],
    "variants": [
        {"name": "champion", "weight": 9},
        {"name": "new", "weight": 1, "model": "challenger"},
    ],
}


@pytest.fixture
def load(tmp_path):
    """Write a mapping as experiment.yaml and load it."""

    def load(raw, **more):
        path = tmp_path / "experiment.yaml"
        path.write_text(raw if isinstance(raw, str) else yaml.safe_dump(raw))
        return load_experiment(path, models=MODELS, **more)

    return load


def test_the_shipped_experiment_is_one_variant_for_everybody():
    """With the schema's unit and its constant for an unknown device; no code names either."""
    trial = load_experiment(SHIPPED, models=["champion"], schema=load_schema("avazu"))
    assert trial.variants == (Variant("champion", 1, "champion"),)
    assert trial.unit == ("device_id", "device_ip")
    row = {"device_id": "a99f214a", "device_ip": "ddd2926e"}
    assert trial.assign(row, fallback="r").unit_field == "device_ip"


def test_the_example_in_the_shipped_file_is_one(load):
    """Uncommented, it loads: two variants and a shadow."""
    commented = SHIPPED.read_text().partition("# name: challenger-trial")
    lines = [line.removeprefix("# ") for line in (commented[1] + commented[2]).splitlines()]
    example = "\n".join(lines).partition("\n#\n")[0]
    trial = load(example + "\nsalt: x\nunit: [device_id]")
    assert [(v.name, v.weight, v.model) for v in trial.variants] == [
        ("champion", 9, "champion"),
        ("challenger", 1, "challenger"),
    ]
    assert trial.shadows == ("fm_next",)


def test_a_variants_model_is_called_like_it_by_default(load):
    """`model` is needed only where the two names differ."""
    assert [variant.model for variant in load(PLAIN).variants] == ["champion", "challenger"]


def test_unit_fields_can_list_values_that_mean_unknown(load):
    """They add to the schema's; numbers are read as the texts they are hashed as."""
    raw = PLAIN | {"unit": [{"device_id": ["0000", 0]}, "device_ip"]}
    trial = load(raw, schema=load_schema("avazu"))
    assert trial.unknown["device_id"] == {"0000", "0", "a99f214a"}
    assert load(raw).unknown["device_id"] == {"0000", "0"}


def test_another_teams_unit_comes_from_its_schema(load):
    """Without `unit`, the schema says whom to stick to; no unit means each request by itself."""
    shop = {
        "name": "shop",
        "label": "bought",
        "time": {"column": "seen_at", "format": "iso"},
        "fields": {"page": {"example": "home"}, "user": {"missing": "guest"}},
        "unit": ["user"],
    }
    raw = {key: value for key, value in PLAIN.items() if key != "unit"}
    trial = load(raw, schema=Schema.from_dict(shop))
    assert (trial.unit, trial.unknown) == (("user",), {"user": {"guest"}})
    assert load(PLAIN | {"unit": []}).unit == ()


def test_the_salt_can_come_from_the_environment(load, monkeypatch):
    """So that it is in no file; the same salt draws the same variants."""
    monkeypatch.setenv("TRIAL_SALT", "pepper")
    assert load(PLAIN | {"salt": {"env": "TRIAL_SALT"}}).digest == load(PLAIN).digest
    monkeypatch.delenv("TRIAL_SALT")
    with pytest.raises(ConfigError, match="the environment variable TRIAL_SALT is not set"):
        load(PLAIN | {"salt": {"env": "TRIAL_SALT"}})


def test_the_environment_replaces_the_shipped_salt_alone(load, monkeypatch):
    """So a deployment needs no file of its own, and a salt that somebody chose stays."""
    monkeypatch.setenv("CLICKLAB_SALT", "pepper")
    assert load(PLAIN | {"salt": "change me"}).salt == "pepper"
    assert load(PLAIN | {"salt": "mine"}).salt == "mine"
    monkeypatch.delenv("CLICKLAB_SALT")
    assert load(PLAIN | {"salt": "change me"}).salt == "change me"


def variants(*entries):
    return PLAIN | {"variants": list(entries)}


BAD = [
    ("{", "cannot be read"),
    ("[]", "an experiment is a mapping"),
    (PLAIN | {"units": []}, "no key 'units'"),
    ({"name": "x", "salt": "y"}, "needs the key 'variants'"),
    (PLAIN | {"name": "two words"}, "name must be"),
    (PLAIN | {"name": 7}, "name must be"),
    (PLAIN | {"salt": 7}, "salt must be text"),
    (PLAIN | {"salt": ""}, "salt must be text"),
    (PLAIN | {"unit": "device_id"}, "unit: expected a list"),
    (PLAIN | {"unit": [7]}, "unit: expected distinct field names"),
    (PLAIN | {"unit": ["a", "a"]}, "unit: expected distinct field names"),
    (PLAIN | {"unit": [{"a": [], "b": []}]}, "unit: expected distinct field names"),
    (PLAIN | {"unit": [{"a": "x"}]}, "unit 'a': expected a list"),
    (PLAIN | {"unit": [{"a": [["x"]]}]}, "unit 'a': expected text"),
    ({key: PLAIN[key] for key in ("name", "salt", "variants")}, "key 'unit' is missing"),
    (PLAIN | {"variants": {}}, "variants: expected a list"),
    (variants(), "no weight is above 0"),
    (variants("champion"), "a variant is a mapping"),
    (variants({"name": "champion"}), "a variant needs the key 'weight'"),
    (variants({"name": "champion", "weight": 1, "share": 1}), "a variant has no key 'share'"),
    (variants({"name": "champion", "weight": 0}), "no weight is above 0"),
    (variants({"name": "champion", "weight": -1}), "weight must be a number"),
    (variants({"name": "champion", "weight": True}), "weight must be a number"),
    (variants({"name": "champion", "weight": "1"}), "weight must be a number"),
    (variants({"name": "champion", "weight": float("nan")}), "weight must be a number"),
    (variants({"name": "champion", "weight": float("inf")}), "weight must be a number"),
    (variants({"name": "a\nb", "weight": 1}), "a variant's name must be"),
    (
        variants({"name": "x", "weight": 1}),
        "no model 'x'; the service has challenger, champion, fm_next",
    ),
    (variants(*[{"name": "champion", "weight": 1}] * 2), "two variants are called 'champion'"),
    (PLAIN | {"shadows": "fm_next"}, "shadows: expected a list"),
    (PLAIN | {"shadows": ["gone"]}, "no model 'gone'"),
    (PLAIN | {"shadows": [["x"]]}, "no model"),
]


@pytest.mark.parametrize(("raw", "named"), BAD, ids=range(len(BAD)))
def test_whatever_is_wrong_is_said_in_one_line(load, raw, named):
    """The message names the file and the key."""
    with pytest.raises(ConfigError, match=named) as caught:
        load(raw)
    assert "experiment.yaml: " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_unit_that_no_request_has_is_an_error(load):
    """A misspelt unit would draw each request anew."""
    with pytest.raises(ConfigError, match=r"found 'device'; the log's fields are C1, "):
        load(PLAIN | {"unit": ["device"]}, schema=load_schema("avazu"))


def test_a_missing_file_is_said(tmp_path):
    """One line that names it."""
    with pytest.raises(ConfigError, match=r"gone\.yaml: the experiment cannot be read"):
        load_experiment(tmp_path / "gone.yaml", models=MODELS)
