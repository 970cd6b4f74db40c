"""The state: who answers for whom, without those whose model is not there."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from bentos.ctr.experiment.assignment import Experiment, Variant
from bentos.ctr.scoring.serving_state import LoadedModel, ServingState, without_missing_models
from tasks.errors import ConfigError


def loaded(name, version="0123456789ab", model_name="ftrl"):
    model = SimpleNamespace(name=model_name, version=version)
    scorer = SimpleNamespace(model=model)
    return LoadedModel(name, scorer, None, "here", 0.0, None, 1, 0.0)


def experiment(*models, shadows=()):
    arms = [Variant(f"arm-{name}", 1.0, name) for name in models]
    return Experiment("trial", "pepper", ("user",), arms, shadows)


UNITS = [{"user": str(number)} for number in range(300)]


def arms_of(some_experiment):
    return [some_experiment.assign(unit, fallback="r").variant.name for unit in UNITS]


def test_each_variant_is_answered_by_its_model():
    models = {"champion": loaded("champion"), "next": loaded("next")}
    state = ServingState(models, experiment("champion", "next", shadows=("next",)))
    assert state.of("arm-next") is models["next"]
    assert state.of("arm-champion") is state.champion is models["champion"]
    assert state.shadows == (models["next"],)


def test_a_state_does_not_change():
    models = {"champion": loaded("champion")}
    state = ServingState(models, experiment("champion"))
    models["next"] = loaded("next")
    assert list(state.models) == ["champion"]
    with pytest.raises(TypeError):
        state.models["next"] = loaded("next")


def test_an_answer_names_model_version_and_variant_as_json():
    models = {"champion": loaded("champion", model_name='f"m')}
    state = ServingState(models, experiment("champion"))
    answer = json.loads(b'{"prediction": 0.5%b}' % state.tail("arm-champion"))
    assert answer == {
        "prediction": 0.5,
        "model": 'f"m',
        "version": "0123456789ab",
        "variant": "arm-champion",
    }


def test_a_variant_without_its_model_leaves_its_units_to_the_others():
    """Everybody else stays where they are, and all come back with the model."""
    both = experiment("champion", "next", "third")
    left = without_missing_models(both, {"champion": 0, "third": 0})
    for before, after in zip(arms_of(both), arms_of(left), strict=True):
        assert after == before or before == "arm-next"
    assert without_missing_models(both, {"champion": 0, "next": 0, "third": 0}) is both


def test_a_shadow_without_its_model_is_left_out():
    state = ServingState(
        {"champion": loaded("champion")}, experiment("champion", shadows=("next",))
    )
    assert state.shadows == ()
    assert state.declared.shadows == ("next",)


def test_without_a_variant_that_can_answer_there_is_no_state():
    with pytest.raises(ConfigError, match="no variant can answer"):
        ServingState({"champion": loaded("champion")}, experiment("next"))


def test_a_variant_of_weight_0_alone_cannot_answer():
    """It is there for forced requests only."""
    arms = [Variant("a", 1.0, "next"), Variant("b", 0.0, "champion")]
    with pytest.raises(ConfigError, match="no variant can answer"):
        ServingState({"champion": loaded("champion")}, Experiment("trial", "pepper", (), arms))


def test_the_champion_is_the_first_model_where_none_is_called_so():
    state = ServingState({"a": loaded("a"), "b": loaded("b")}, experiment("b"))
    assert state.champion.name == "a"


def test_a_shadow_scores_no_more_candidates_than_it_can_in_time():
    """The answer does not wait for it."""
    slow = replace(loaded("slow"), max_candidates=3)
    models = {"champion": loaded("champion"), "slow": slow, "fast": loaded("fast")}
    state = ServingState(models, experiment("champion", shadows=("slow", "fast")))
    assert state.shadows_for(3) == [models["slow"], models["fast"]]
    assert state.shadows_for(4) == [models["fast"]]
    assert not slow.takes(4)
