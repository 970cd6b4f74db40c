"""The lineup: who answers for whom, without those whose model is not there."""

import json
from types import SimpleNamespace

import pytest

from bentos.ctr.experiment.assignment import Experiment, Variant
from bentos.ctr.models.lineup import Lineup, Loaded, playable
from tasks.errors import ConfigError


def loaded(name, version="0123456789ab", model_name="ftrl"):
    model = SimpleNamespace(name=model_name, version=version)
    scorer = SimpleNamespace(model=model)
    return Loaded(name, scorer, None, "here", 0.0, None, 1, 0.0)


def experiment(*models, shadows=()):
    arms = [Variant(f"arm-{name}", 1.0, name) for name in models]
    return Experiment("trial", "pepper", ("user",), arms, shadows)


UNITS = [{"user": str(number)} for number in range(300)]


def arms_of(some_experiment):
    return [some_experiment.assign(unit, fallback="r").variant.name for unit in UNITS]


def test_each_variant_is_answered_by_its_model():
    models = {"champion": loaded("champion"), "next": loaded("next")}
    lineup = Lineup(models, experiment("champion", "next", shadows=("next",)))
    assert lineup.of("arm-next") is models["next"]
    assert lineup.of("arm-champion") is lineup.champion is models["champion"]
    assert lineup.shadows == (models["next"],)


def test_a_lineup_does_not_change():
    models = {"champion": loaded("champion")}
    lineup = Lineup(models, experiment("champion"))
    models["next"] = loaded("next")
    assert list(lineup.models) == ["champion"]
    with pytest.raises(TypeError):
        lineup.models["next"] = loaded("next")


def test_an_answer_names_model_version_and_variant_as_json():
    models = {"champion": loaded("champion", model_name='f"m')}
    lineup = Lineup(models, experiment("champion"))
    answer = json.loads(b'{"prediction": 0.5%b}' % lineup.tail("arm-champion"))
    assert answer == {
        "prediction": 0.5,
        "model": 'f"m',
        "version": "0123456789ab",
        "variant": "arm-champion",
    }


def test_a_variant_without_its_model_leaves_its_units_to_the_others():
    """Everybody else stays where they are, and all come back with the model."""
    both = experiment("champion", "next", "third")
    left = playable(both, {"champion": 0, "third": 0})
    for before, after in zip(arms_of(both), arms_of(left), strict=True):
        assert after == before or before == "arm-next"
    assert playable(both, {"champion": 0, "next": 0, "third": 0}) is both


def test_a_shadow_without_its_model_is_left_out():
    lineup = Lineup({"champion": loaded("champion")}, experiment("champion", shadows=("next",)))
    assert lineup.shadows == ()
    assert lineup.declared.shadows == ("next",)


def test_where_nobody_can_answer_there_is_no_lineup():
    with pytest.raises(ConfigError, match="no variant can answer"):
        Lineup({"champion": loaded("champion")}, experiment("next"))


def test_a_variant_of_weight_0_alone_cannot_answer():
    """It is there for forced requests only."""
    arms = [Variant("a", 1.0, "next"), Variant("b", 0.0, "champion")]
    with pytest.raises(ConfigError, match="no variant can answer"):
        Lineup({"champion": loaded("champion")}, Experiment("trial", "pepper", (), arms))


def test_the_champion_is_the_first_model_where_none_is_called_so():
    lineup = Lineup({"a": loaded("a"), "b": loaded("b")}, experiment("b"))
    assert lineup.champion.name == "a"
