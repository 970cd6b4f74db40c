"""Env files: a file of differences laid over env.yaml, and every mistake in one line with its place."""

import re
import shutil
import subprocess
import sys

import pytest
import yaml

from tasks.errors import ConfigError
from tasks.knobs.reading import overlay, read_env
from tasks.storage.yaml_mapping import YamlMapping
from tests.conftest import ROOT

BASE = (ROOT / "env.yaml").read_text()


def env_file(folder, *changes, name="env.yaml", text=BASE):
    """Write an env file in which each (old, new) of `changes` is replaced once, and return its path."""
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    (folder / name).write_text(text)
    return folder / name


def refusal(path, **options):
    """Return what is said of an env file, without its folder."""
    with pytest.raises(ConfigError) as caught:
        read_env(path, **options)
    said = str(caught.value)
    assert "\n" not in said
    return said.replace(f"{path.parent}/", "")


def line_of(text, word):
    """Return the number of the first line that holds a word."""
    return next(n for n, line in enumerate(text.splitlines(), start=1) if word in line)


# ---- reading and laying over


def test_a_file_of_differences_keeps_the_rest(tmp_path):
    """Sections are merged key by key, a model's block is replaced as a whole; what is not named stays."""
    env_file(tmp_path)
    block = "{kind: ftrl, params: {alpha: 0.2}, search: {method: fixed}}"
    text = f"gates: {{max_relative_loss: 0.5}}\nmodels: {{sgd: {block}}}\n"
    found = read_env(env_file(tmp_path, name="env.mine.yaml", text=text))
    base = yaml.safe_load(BASE)
    assert found["gates"] == base["gates"] | {"max_relative_loss": 0.5}
    assert found["models"] == base["models"] | {"sgd": yaml.safe_load(block)}
    assert {key: found[key] for key in base if key not in ("gates", "models")} == {
        key: base[key] for key in base if key not in ("gates", "models")
    }


def test_a_complete_file_elsewhere_stands_alone(tmp_path):
    """It needs no env.yaml beside it."""
    path = env_file(tmp_path, ("seed: 7", "seed: 8"), name="env.all.yaml")
    assert read_env(path) == yaml.safe_load(BASE) | {"seed": 8}


def test_data_and_single_knobs_of_the_command_line_win(tmp_path):
    """`make run DATA=...`, and `ploomber build --env--hash--bits 16`."""
    found = read_env(env_file(tmp_path), data="b", changes={"hash.bits": "16"})
    assert (found["data"], found["hash"]["bits"], found["hash"]["batch_rows"]) == ("b", 16, 65536)


@pytest.mark.parametrize(
    ("text", "value"),
    [("0.5", 0.5), ("1e-5", 1e-5), ("[0.9, 1.1]", [0.9, 1.1]), ("abc", "abc"), ("a: [", "a: [")],
)
def test_a_word_of_the_command_line_is_what_it_looks_like(tmp_path, text, value):
    """Numbers, also those that YAML 1.1 takes for text, lists, and text."""
    path, name = env_file(tmp_path), "models.fm.params.alpha"
    try:
        assert read_env(path, changes={name: text})["models"]["fm"]["params"] == {"alpha": value}
    except ConfigError as error:
        assert repr(value) in str(error)


def test_a_value_of_another_type_replaces_a_section():
    """`engine: local` gives way to a mapping, and the other way round."""
    local, dask = ({"engine": value} for value in ("local", {"dask": {}}))
    assert overlay(YamlMapping(local), YamlMapping(dask)).values == dask
    assert overlay(YamlMapping(dask), YamlMapping(local)).values == local


@pytest.mark.parametrize("name", ["env.yaml", "env.tiny.yaml", "env.aws.yaml"])
def test_the_files_of_the_project_are_sound(name):
    """They pass their own check, with nothing converted."""
    plain = yaml.safe_load((ROOT / name).read_text())
    found = read_env(ROOT / name)
    for section, value in plain.items():
        inner = value if isinstance(value, dict) else {section: value}
        assert inner.items() <= (found[section] if isinstance(value, dict) else found).items()


@pytest.mark.parametrize("name", ["env.tiny.yaml", "env.aws.yaml"])
def test_the_files_of_differences_repeat_nothing(name):
    """A value that env.yaml has already is a copy that will drift."""
    base, changes = (yaml.safe_load((ROOT / file).read_text()) for file in ("env.yaml", name))
    for section, value in changes.items():
        if not isinstance(value, dict):
            # `engine` stands there to be switched by one line
            assert value != base.get(section) or section == "engine", section
            continue
        for key, inner in value.items():
            assert (section, key, inner) != (section, key, (base.get(section) or {}).get(key))


def test_a_name_of_the_origin_belongs_to_the_data_in_the_file(tmp_path):
    """DATA= names other data, which must not pass for the one that the file names."""
    path = env_file(tmp_path, ("origin: null", "origin: production"))
    assert read_env(path)["origin"] == "production"
    other = read_env(path, data="/tmp/other.csv")
    assert (other["data"], other["origin"]) == ("/tmp/other.csv", None)


@pytest.mark.parametrize(
    ("value", "allowed"), [("1", True), ("true", True), ("0", False), ("", False)]
)
def test_one_run_may_replace_a_champion_of_other_data(tmp_path, monkeypatch, value, allowed):
    """ALLOW_OTHER_DATA=1 sets the gate, so that `evaluate` is outdated and judges again."""
    monkeypatch.setenv("ALLOW_OTHER_DATA", value)
    gates = yaml.safe_load(BASE)["gates"]
    assert read_env(env_file(tmp_path))["gates"] == gates | {"allow_other_data": allowed}


# ---- mistakes


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("kind: ftrl", "kind: lightgbm:LGBMClassifier", "`models.ftrl`: `input` is missing: hashed or categorical"),
        ("kind: ftrl", "kind: sklearn.svm:LinearSVC\n    input: hashed", "`models.ftrl.params`: sklearn.svm:LinearSVC has no predict_proba"),
        ("kind: ftrl", "kind: ftrl\n    input: hashed", "`models.ftrl.input`: ftrl learns row by row; only an estimator has it"),
        ("kind: ftrl", "kind: ftrl\n    input: dense", "`models.ftrl.input` must be hashed or categorical, found 'dense'"),
        ("kind: ftrl", "kind: ftrl\n    max_rows: 0", "`models.ftrl.max_rows` must be an integer of at least 1, found 0"),
        ("kind: ftrl\n    params: {}", "kind: sklearn.linear_model:LogisticRegression\n    input: hashed\n    params: {D: 1}", "`models.ftrl.params.D`: sklearn.linear_model:LogisticRegression has no parameter 'D'"),
        ("kind: ftrl\n    params: {}", "kind: sklearn.linear_model:LogisticRegression\n    input: hashed\n    params: {C: -1.0}", "`models.ftrl.params.C`: sklearn.linear_model:LogisticRegression: The 'C' parameter"),
        ("kind: ftrl\n    params: {}", "kind: lightgbm:LGBMClassifier\n    input: categorical\n    params: {num_leavs: 7}", "`models.ftrl.params.num_leavs`: lightgbm:LGBMClassifier has no parameter 'num_leavs'; did you mean `num_leaves`?"),
    ],
)  # fmt: skip
def test_a_model_of_another_package_that_cannot_be_is_one_line(tmp_path, old, new, said):
    """What it needs, what it does not have, and that it could not serve, before anything runs."""
    found = refusal(env_file(tmp_path, (old, new)))
    assert found.startswith("env.yaml:3")
    assert said in found
    assert "\n" not in found


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("bits: 20", "bitz: 20", "unknown key `hash.bitz`; did you mean `hash.bits`?"),
        ("hash:", "hsah:", "unknown key `hsah`; did you mean `hash`?"),
        ("seed: 7", "bits: 7", "unknown key `bits`; did you mean `hash.bits`?"),
        ("bits: 20", 'bits: "20"', "an integer from 1 to 30, found '20' (text); remove the quotes"),
        ("bits: 20", "bits: yes", "`hash.bits` must be an integer from 1 to 30, found true"),
        ("bits: 20", "bits: 20.0", "`hash.bits` must be an integer from 1 to 30, found 20.0"),
        ("bits: 20", "bits: 0", "found 0"),
        ("bits: 20", "bits: 99", "found 99"),
        ("bits: 20", "bits:", "`hash.bits` must be an integer from 1 to 30, found nothing"),
        ("batch_rows: 65536", "batch_rows: -1", "an integer of at least 1, found -1"),
        ("test_share: 0.1", "test_share: 1.0", "above 0 and below 1, found 1.0"),
        ("test_share: 0.1", "test_share: 0.95", "valid_share + test_share must be below 1"),
        ("max_bad_share: 0.01", "max_bad_share: 1e-2", "found '1e-2' (text); write 1.0e-2"),
        ("min_ctr: 0.0001", "min_ctr: 0.95", "min_ctr (0.95) must be below max_ctr (0.9)"),
        ("negative_rate: 1.0", "negative_rate: 0", "above 0 and at most 1, found 0"),
        ("max_false_refusals: 0.05", "min_slice_rows: 2000", "`gates.min_slice_rows` is no knob any more: slices are judged by their clicks"),
        ("max_relative_loss", "max_relative_los", "did you mean `gates.max_relative_loss`?"),
        ("[0.8, 1.25]", "[1.8, 1.25]", "calibration_ratio must be [low, high] around 1"),
        ("[0.8, 1.25]", "[0.8]", "must be [low, high], two numbers, found [0.8]"),
        ("[0.8, 1.25]", "[0.8, x]", "`gates.calibration_ratio[1]` must be a number, found 'x'"),
        ("engine: local", "engine: dsk", "must be local or dask, found 'dsk' (text)"),
        ("engine: local", "engine: {dask: {}}", "exactly one of address, fargate, workers"),
        ("engine: local", "engine: {dask: {workerz: 2}}", "did you mean `engine.dask.workers`?"),
        ("engine: local", "engine: {dask: {workers: 0}}", "of at least 1, found 0"),
        ("engine: local", "engine: {dask: {fargate: {x: 1}}}", "n_workers, an integer"),
        ("name: ctr}", "name: My Shop}", "`bento.name` must be text that matches"),
        ("experiment: ctr", "experiment: ''", "text of 1 to 500 characters, found ''"),
        ("time_limit_minutes: 240", "time_limit_minutes: 0", "a number above 0, found 0"),
        ("kind: ftrl", "kind: lightgbm:LGBMClasifier", "`models.ftrl.kind`: lightgbm has no class 'LGBMClasifier'; did you mean lightgbm:LGBMClassifier?"),
        ("kind: ftrl", "kind: ftlr", "there is no kind 'ftlr'; did you mean ftrl?"),
        ("search: {method: halving}", "search: {}", "search.method` is missing: halving, fixed, grid, optuna"),
        ("method: halving", "method: fixd", "must be one of halving, fixed, grid, optuna, found 'fixd'"),
        ("grid: {alpha", "grid: {alhpa", "`models.sgd.search.grid.alhpa`: sgd has no parameter"),
        ("[0.05, 0.1]", "[0.05, x]", "`models.sgd.search.grid.eta0`: sgd: The 'eta0' parameter"),
        ("[0.05, 0.1]", "[]", "must be a list that is not empty, found []"),
        ("method: grid, grid", "method: grid, gird", "did you mean `models.sgd.search.grid`?"),
        ("n_trials: 10", "n_trialz: 10", "did you mean `models.sgd_optuna.search.n_trials`?"),
        ("n_trials: 10", "max_rows: 9", "n_trials or minutes must be given"),
        ("n_trials: 10", "n_trials: null, minutes: 5", "an integer of at least 1, found nothing"),
        ("n_trials: 10", "minutes: 0", "a number above 0, found 0"),
        ("n_trials: 10", "n_trials: 3, pruner: 1", "must be true or false, found 1"),
        ("n_trials: 10", "n_trials: ten", "an integer of at least 1, found 'ten' (text)"),
        ("  fm:\n", "  a/b:\n", "`models.a/b` is no name for that: text that matches"),
        ("  fm:\n", "  SGD:\n", "`models.SGD`: differs from 'sgd' by case alone"),
    ],
)  # fmt: skip
def test_a_knob_that_cannot_be_is_one_line_with_its_place(tmp_path, old, new, said):
    """File, line, dotted key, what was found, what would be right."""
    path = env_file(tmp_path, (old, new))
    found = refusal(path)
    assert said in found
    changed = new.strip().splitlines()[0]
    section = line_of(path.read_text(), changed)
    # a limit that two keys share is reported at their section
    assert found.startswith(f"env.yaml:{section}: ") or "must be below" in said or "around" in said


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ("{alhpa: 1}", "ftrl has no parameter 'alhpa'; did you mean `alpha`?"),
        ("{n_features: 1}", "ftrl has no parameter 'n_features'; it has alpha"),
        ("{alpha: -1}", "alpha must be a finite number above 0, found -1"),
        ("{alpha: 1e-5}", "found '1e-5'; write 1.0e-5"),
        ("{l2: 1.0, beta: 0}", "`models.ftrl.params.beta`: ftrl: beta must be above 0"),
        ("null", "`models.ftrl.params` must be a mapping, found nothing"),
        ("[alpha]", "`models.ftrl.params` must be a mapping, found ['alpha']"),
    ],
)
def test_the_learners_are_asked_about_their_parameters(tmp_path, params, said):
    """Names and values, in words of the learner."""
    path = env_file(tmp_path, ("kind: ftrl\n    params: {}", f"kind: ftrl\n    params: {params}"))
    found = refusal(path)
    assert said in found
    assert found.startswith(f"env.yaml:{line_of(path.read_text(), f'params: {params}')}: ")


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ("{alpha: {low: 1.0e-5, high: 1.0e-6}}", "low (1e-05) must be below high (1e-06)"),
        ("{alpha: {low: 0, high: 1, log: true}}", "low must be above 0 where log is true"),
        ("{alpha: {low: 1.0e-5, hihg: 1}}", "did you mean"),
        ("{alpah: [1.0e-5, 1.0e-6]}", "did you mean `alpha`?"),
        ("{penalty: [l2, l3]}", "penalty"),
        ("{alpha: 3}", "must be"),
    ],
)
def test_the_space_of_a_search_holds_values_that_the_learner_takes(tmp_path, space, said):
    """Not found out after the first trials."""
    assert said in refusal(env_file(tmp_path, ("n_trials: 10", f"n_trials: 10, space: {space}")))


def test_a_search_in_which_everything_is_fixed_is_refused(tmp_path):
    """All that the space names is in `params`."""
    change = ("n_trials: 10", "n_trials: 10, space: {alpha: [1.0e-5, 1.0e-4]}")
    params = (
        "sgd_optuna:\n    kind: sgd\n    params: {}",
        "sgd_optuna:\n    kind: sgd\n    params: {alpha: 0.1}",
    )
    assert "nothing is left to search" in refusal(env_file(tmp_path, params, change))


@pytest.mark.parametrize("line", ["  bits: 20", "seed: 7", "  ledger: mlflow/store/ledger.jsonl"])
def test_a_missing_knob_is_named_with_what_it_is_for(tmp_path, line):
    """At the line of its section."""
    text = "".join(row for row in BASE.splitlines(keepends=True) if not row.startswith(line))
    found = refusal(env_file(tmp_path, text=text))
    assert re.search(
        rf"^env\.yaml:\d+: `[\w.]*{line.split(':')[0].strip()}` is missing: .+\(.+\)$", found
    )


def test_the_place_is_in_the_file_at_fault(tmp_path):
    """In the differences or in the file below them, whichever holds the value."""
    env_file(tmp_path)
    mine = env_file(tmp_path, name="env.mine.yaml", text="\nhash: {bits: 16, bitz: 3}\n")
    assert refusal(mine).startswith("env.mine.yaml:2: unknown key `hash.bitz`")
    env_file(tmp_path, ("batch_rows: 65536", "batch_rows: 0"))
    mine = env_file(tmp_path, name="env.mine.yaml", text="\nhash: {bits: 16}\n")
    assert refusal(mine).startswith(f"env.yaml:{line_of(BASE, 'batch_rows')}: `hash.batch_rows`")


def test_a_misspelt_section_of_differences_is_not_filled_from_env_yaml(tmp_path):
    """Else a misspelt `mlflow` would write to the real store."""
    env_file(tmp_path)
    mine = env_file(tmp_path, name="env.mine.yaml", text="mlflwo: {experiment: x}\n")
    assert refusal(mine) == "env.mine.yaml:1: unknown key `mlflwo`; did you mean `mlflow`?"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        (
            "hash.bitz",
            "16",
            "--env--hash--bitz: unknown key `hash.bitz`; did you mean `hash.bits`?",
        ),
        ("hsah.bits", "16", "--env--hsah--bits: unknown key `hsah`; did you mean `hash`?"),
        ("hash.bits", "many", "--env--hash--bits: `hash.bits` must be an integer"),
        ("hash.bits", "'16'", "found '16' (text); remove the quotes"),
        ("hash", "16", "--env--hash: `hash` must be a mapping, found 16"),
    ],
)
def test_a_mistake_of_the_command_line_names_the_option(tmp_path, name, value, said):
    """There is no line to point at."""
    assert said in refusal(env_file(tmp_path), changes={name: value})


def test_an_unreadable_base_is_named_although_another_file_was_asked_for(tmp_path):
    """The file at fault is named."""
    env_file(tmp_path, text="a: [")
    assert refusal(env_file(tmp_path, name="env.mine.yaml", text="seed: 1")).startswith("env.yaml:")


def test_a_missing_file_is_named_with_what_to_do(tmp_path):
    """The usual cause is another folder."""
    assert "not found; run this in the folder that holds env.yaml" in refusal(tmp_path / "env.yaml")


def test_a_folder_in_its_place_is_one_line(tmp_path):
    """Docker makes one of a file that is mounted and missing."""
    (tmp_path / "env.yaml").mkdir()
    assert "is a folder" in refusal(tmp_path / "env.yaml")
    shutil.rmtree(tmp_path / "env.yaml")


@pytest.mark.parametrize("budget", ["n_trials: 3", "minutes: 0.5", "n_trials: 3, minutes: 5"])
def test_a_search_has_a_budget_in_trials_or_minutes(tmp_path, budget):
    """Either may be left out."""
    found = read_env(env_file(tmp_path, ("n_trials: 10", f"{budget}, pruner: false")))
    assert (
        found["models"]["sgd_optuna"]["search"].items() >= yaml.safe_load(f"{{{budget}}}").items()
    )


def test_what_trains_nothing_waits_for_no_learner():
    """A command that only looks up a knob starts without the packages that the models are made of."""
    program = (
        "import sys; from tasks.knobs.reading import read_env; read_env('env.yaml', ask_models=False);"
        "print(sorted({'lightgbm', 'mlflow', 'numba', 'pandas', 'sklearn'} & {*sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_kind_without_weights_is_refused_on_a_log_of_counts(tmp_path):
    """With file, line and key, in one line; a schema that cannot be read is not judged here."""
    declared = {"name": "counted", "fields": {"ad": {}}}
    for label, said in (
        ({"column": "clicks", "impressions": "shown"}, "takes no weights of rows"),
        ("clicks", None),
    ):
        (tmp_path / "counted.yaml").write_text(yaml.safe_dump(declared | {"label": label}))
        block = "{kind: 'sklearn.neighbors:KNeighborsClassifier', params: {}, input: hashed, search: {method: fixed}}"
        path = env_file(
            tmp_path,
            ("  fm:\n", f"  near: {block}\n  fm:\n"),
            ("tasks/schemas/avazu.yaml", str(tmp_path / "counted.yaml")),
        )
        if said is None:
            read_env(path)
        else:
            assert said in refusal(path) and "models.near.kind" in refusal(path)
