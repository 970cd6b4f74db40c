"""Blends in an env file: parts that are there, no circle, and the entry of pipeline.yaml that makes one."""

import re

import pytest
import yaml

from tasks.errors import ConfigError
from tasks.knobs.blends import blend_problem, blocks_behind, entry_problem
from tasks.knobs.model_tasks import check_models, model_block, model_problems, task_lines
from tasks.knobs.reading import read_env
from tests.conftest import ROOT

FTRL = {"kind": "ftrl", "params": {}, "search": {"method": "fixed"}}
MODELS = {"a": FTRL, "b": FTRL, "mean": {"kind": "blend", "of": ["a", "b"]}}


def env_of(folder, mean):
    """Write an env file with these lines for the block of a blend, and return its path."""
    text = (ROOT / "env.yaml").read_text()
    block = "\n".join(f"    {line}" for line in mean.splitlines())
    (folder / "env.yaml").write_text(text.replace("\ntraining:", f"\n  mean:\n{block}\ntraining:"))
    return folder / "env.yaml"


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("kind: blend\nof: [fm, ftlr]", "`models.mean.of`: there is no model 'ftlr'; did you mean ftrl?"),
        ("kind: blend\nof: [ftrl, mean]", "`models.mean.of`: a blend cannot be a part of itself"),
        ("kind: blend\nof: [ftrl, ftrl]", "`models.mean.of`: 'ftrl' is named twice"),
        ("kind: blend\nof: [ftrl]", "`models.mean.of` must be a list"),
        ("kind: blend\nof: ftrl", "`models.mean.of` must be a list"),
        ("kind: blend", "`models.mean.of` is missing"),
        ("kind: blend\nof: [ftrl, fm]\nparams: {}", "unknown key `models.mean.params`"),
        ("kind: ftrl\nof: [ftrl, fm]", "unknown key `models.mean.of`"),
    ],
)  # fmt: skip
def test_a_blend_that_cannot_be_made_is_one_line(tmp_path, block, message):
    """With file, line and key, before anything starts."""
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        read_env(env_of(tmp_path, block))
    assert "\n" not in str(caught.value)
    assert re.match(r".*env\.yaml:\d+: ", str(caught.value))


def test_a_sound_blend_passes(tmp_path):
    """Also one of another blend."""
    read = read_env(env_of(tmp_path, "kind: blend\nof: [ftrl, fm]"))
    assert read["models"]["mean"] == {"kind": "blend", "of": ["ftrl", "fm"]}
    more = MODELS | {"outer": {"kind": "blend", "of": ["mean", "a"]}}
    assert blend_problem("outer", more) is None
    assert list(model_problems(more)) == []


def test_a_circle_is_shown():
    """Each blend of it names the way back to itself."""
    models = {
        "a": FTRL,
        "x": {"kind": "blend", "of": ["a", "y"]},
        "y": {"kind": "blend", "of": ["z", "a"]},
        "z": {"kind": "blend", "of": ["a", "x"]},
    }
    assert blend_problem("x", models) == "the blend would be a part of itself: x > y > z > x"
    problems = dict(model_problems(models))
    assert set(problems) == {("models", name, "of") for name in "xyz"}


def test_the_blocks_behind_a_blend_are_those_of_its_parts():
    """Of parts of parts, too, and each once; a circle ends."""
    more = MODELS | {"outer": {"kind": "blend", "of": ["mean", "a"]}}
    assert blocks_behind("outer", more) == [more["outer"], MODELS["mean"], FTRL, FTRL]
    assert blocks_behind("a", more) == [FTRL]
    assert blocks_behind("x", {"x": {"kind": "blend", "of": ["x", "no"]}}) == [
        {"kind": "blend", "of": ["x", "no"]}
    ]
    assert blocks_behind("a", None) == []


def test_the_entry_to_paste_waits_for_the_parts():
    """Another notebook, and the trainings of its parts upstream."""
    with pytest.raises(ConfigError, match="model 'mean' has no task") as caught:
        check_models(MODELS, ["a", "b"])
    lines = task_lines("mean", MODELS["mean"])
    assert str(caught.value).endswith(lines)
    anchors = (
        "- &train {source: notebooks/train.ipynb, params: {model: &block {}, code: &code {}}}\n"
    )
    (_, entry) = yaml.safe_load(anchors + re.sub(r"(?m)^  ", "", lines))
    assert entry["source"] == "notebooks/blend.ipynb"
    assert entry["upstream"] == ["hash_features", "train-a", "train-b"]
    assert entry["params"]["code"] == {"source": "notebooks/blend.ipynb", "model": "mean"}
    assert entry_problem("mean", MODELS["mean"], entry) is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (", train-fm]", "]", "does not name train-fm, a part of the blend, as its upstream"),
        ("source: notebooks/blend.ipynb\n", "source: notebooks/train.ipynb\n", "its source is notebooks/blend.ipynb"),
        (", model: mean}}", "}}", "the `code` of task train-mean is that of model"),
    ],
)  # fmt: skip
def test_an_entry_that_does_not_fit_its_blend_is_refused(tmp_path, monkeypatch, old, new, message):
    """A part added to the block but not to the task would be missing when the notebook runs."""
    models = read_env(ROOT / "env.yaml")["models"] | {
        "mean": {"kind": "blend", "of": ["ftrl", "fm"]}
    }
    before, after = (
        (ROOT / "pipeline.yaml").read_text().split("  - <<: *notebook\n    name: evaluate\n")
    )
    lines = task_lines("mean", models["mean"])
    monkeypatch.chdir(tmp_path)
    whole = f"{before}{lines}\n\n  - <<: *notebook\n    name: evaluate\n{after}"
    (tmp_path / "pipeline.yaml").write_text(whole)
    assert model_block("mean", models) == models["mean"]
    assert old in lines
    (tmp_path / "pipeline.yaml").write_text(whole.replace(lines, lines.replace(old, new)))
    with pytest.raises(ConfigError, match=re.escape(message)):
        model_block("mean", models)
