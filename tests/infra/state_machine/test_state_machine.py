"""The compiler: what the DAG becomes, what it refuses, that three linters accept it and catch what is broken."""

import json
from pathlib import Path

import matplotlib as mpl
import pytest

from infra.state_machine.__main__ import OUT, compile_machine, main, render
from infra.state_machine.dag import MAX_NAME, Task, models_of, order
from infra.state_machine.figure import draw
from infra.state_machine.sizes import MEMORY_MB, read_sizes
from infra.state_machine.task_attempts import EXIT_NAMES, UNAVAILABLE
from infra.state_machine.task_states import names_in
from tasks import errors
from tasks.errors import ConfigError
from tests.conftest import ROOT
from tests.infra.asl_lint import fill, tasks_in, wrong_parameters
from tests.infra.lint import asl_validator, botocore_shapes, installed_asl_validator, moto_parser
from tests.infra.machine import VALUES

GOLDEN = Path(__file__).with_name("golden_machine.json.tftpl")
NEEDS = {
    "ingest": (),
    "hash_features": ("ingest",),
    "train-a": ("hash_features",),
    "train-b": ("hash_features",),
    "report": ("train-a", "train-b"),
}
KNOBS = {
    "shards": {"hash_features": 2},
    "sizes": {"train-b": {"cpu": 512, "memory_mb": 1024, "disk_gb": 40}},
}


def small_machine() -> dict:
    """Return the definition of a DAG with all that a pipeline has: levels, branches, models, shards, sizes."""
    return compile_machine(order(NEEDS), read_sizes({"aws": KNOBS}, list(NEEDS)))


def filled(machine: dict) -> str:
    """Return a definition as it is deployed."""
    return fill(render(machine), VALUES)


@pytest.fixture(scope="session")
def asl_package(request):
    """The npm package asl-validator, kept in pytest's cache."""
    return installed_asl_validator(request.config.cache.mkdir("asl-validator"))


# ---- the graph


def test_a_task_lies_one_level_above_the_highest_it_needs():
    """A diamond with a shortcut: the longest way counts."""
    tasks = order({"d": ("a", "c"), "a": (), "b": ("a",), "c": ("b",)})
    assert {task.name: task.level for task in tasks} == {"a": 0, "b": 1, "c": 2, "d": 3}
    assert [task.name for task in tasks] == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("needs", "said"),
    [
        ({"a": ("b",), "b": ("a",)}, r"circle \(a -> b -> a\)"),
        ({"a": ("a",)}, r"circle \(a -> a\)"),
        ({"a": ("z",)}, "'a' needs 'z', which pipeline.yaml does not have"),
        ({"a b": ()}, "names of letters, digits"),
        ({"a*": ()}, "names of letters, digits"),
        ({"${x}": ()}, "names of letters, digits"),
        ({"é": ()}, "names of letters, digits"),
        ({"": ()}, "names of letters, digits"),
        ({"a" * (MAX_NAME + 1): ()}, f"{MAX_NAME} characters at most"),
        ({"Train": (), "train": ()}, "'Train' and 'train' become one name"),
    ],
)
def test_a_graph_that_cannot_be_expressed_is_refused_in_one_line(needs, said):
    """Circles, unknown tasks, and names that Step Functions, S3 or a person would mix up."""
    with pytest.raises(ConfigError, match=said) as caught:
        order(needs)
    assert "\n" not in str(caught.value)


def test_a_definition_above_a_megabyte_is_refused():
    """Step Functions takes no more."""
    needs = {f"task-{number:03d}": () for number in range(150)}
    with pytest.raises(ConfigError, match="Step Functions takes 1,000,000"):
        compile_machine(order(needs), read_sizes({"aws": {}}, list(needs)))


def test_two_states_of_one_name_are_refused():
    """A task called like a state of the frame would be two states of one name."""
    with pytest.raises(ConfigError, match="two states would be called 'Succeeded'"):
        compile_machine(order({"Succeeded": ()}), read_sizes({"aws": {}}, ["Succeeded"]))


def test_the_longest_name_still_fits():
    """No state gets a name that Step Functions refuses."""
    name = "hash_features"
    tasks = [Task(name, (), 0), Task("x" * MAX_NAME, (), 0)]
    sizes = read_sizes({"aws": {"shards": {name: 2}}}, [task.name for task in tasks])
    assert max(map(len, names_in(compile_machine(tasks, sizes)["States"]))) <= 80


# ---- sizes


@pytest.mark.parametrize("cpu", MEMORY_MB)
def test_every_pair_that_fargate_has_is_taken(cpu):
    """And the memory next to its ends is not."""
    for memory_mb in MEMORY_MB[cpu]:
        size = {"cpu": cpu, "memory_mb": memory_mb}
        assert (
            read_sizes({"aws": {"default_size": size}}, ["a"]).by_task["a"].memory_mb == memory_mb
        )
    for memory_mb in (MEMORY_MB[cpu][0] // 2, MEMORY_MB[cpu][-1] + 1024):
        with pytest.raises(ConfigError, match="Fargate allows"):
            read_sizes({"aws": {"default_size": {"cpu": cpu, "memory_mb": memory_mb}}}, ["a"])


BAD_KNOBS = [
    (
        {"default_size": {"cpu": 1000, "memory_mb": 2048}},
        "Fargate has no 1000 CPU units; it has 256, 512",
    ),
    (
        {"sizes": {"ingest": {"cpu": 1024, "memory_mb": 1024}}},
        "aws.sizes.ingest: 1024 CPU units do not go with 1024 MiB; Fargate allows 2048 to 8192 in steps of 1024",
    ),
    ({"sizes": {"ingest": {"cpu": 256, "memory_mb": 3072}}}, "Fargate allows 512, 1024, 2048"),
    ({"sizes": {"ingest": {"cpu": [1024], "memory_mb": 2048}}}, "Fargate has no"),
    ({"sizes": {"ingest": 1024}}, "must be {cpu: ..., memory_mb: ...}"),
    ({"sizes": {"ingest": {"cpu": 1024, "memory_mb": 4096, "ram": 1}}}, "unknown key 'ram'"),
    (
        {"sizes": {"ingest": {"cpu": 1024, "memory_mb": 4096, "disk_gb": 20}}},
        "disk_gb must be 21 to 200",
    ),
    ({"sizes": {"injest": {"cpu": 1024, "memory_mb": 4096}}}, "unknown task 'injest'; known are"),
    ({"shards": {"hash_feature": 4}}, "unknown task 'hash_feature'"),
    ({"shards": {"ingest": 4}}, "only hash_features can be sharded"),
    ({"shards": {"hash_features": 0}}, "from 1 to 40, found 0"),
    ({"shards": {"hash_features": True}}, "from 1 to 40, found True"),
    ({"time_limit_minutes": {"ingst": 5}}, "unknown task 'ingst'"),
    ({"time_limit_minutes": {"ingest": "5"}}, "must be an integer"),
    ({"attempts_unavailable": 11}, "attempts_unavailable must be an integer from 1 to 10"),
    ({"attempts": 0}, "attempts must be an integer from 1 to 10"),
    ({"spot": "yes"}, "spot must be true or false"),
    ({"attemps": 3}, "aws: unknown key 'attemps'"),
]


@pytest.mark.parametrize(("knobs", "said"), BAD_KNOBS, ids=[said for _, said in BAD_KNOBS])
def test_a_knob_that_cannot_be_is_one_line(knobs, said):
    """Named, with what is allowed."""
    with pytest.raises(ConfigError) as caught:
        read_sizes({"aws": knobs}, ["ingest", "hash_features"])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_its_section_an_env_file_is_refused():
    """env.yaml has no sizes."""
    with pytest.raises(ConfigError, match="no section `aws`"):
        read_sizes({}, ["ingest"])


# ---- the definition


def test_the_small_machine_is_the_golden_one():
    """A change of what is compiled is seen in review; write the file anew with the line below."""
    # GOLDEN.write_text(render(small_machine()))
    assert render(small_machine()) == GOLDEN.read_text()


def test_all_that_differs_by_deployment_is_left_to_terraform():
    """The template names each value, and nothing of an account is in it."""
    text = render(small_machine())
    left = set(VALUES) - {"tracking_uri"}
    assert {name for name in left if "${" + name not in text} == {"log_group"}
    assert '${replace(log_group, "/", "$252F")}' in text
    assert "123456789012" not in text
    assert '"Subnets": ${subnets}' in text
    assert "${" not in fill(text, VALUES)


def test_every_way_a_task_can_end_by_itself_has_a_name():
    """The codes of tasks/errors.py, none left out."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    codes = {kind.exit_code for kind in kinds if issubclass(kind, errors.ClicklabError)}
    assert codes - {1} == {*EXIT_NAMES, UNAVAILABLE}


def test_a_container_gets_its_size_its_run_and_its_shard():
    """What ECS is asked for, as env.aws.yaml says."""
    tasks = dict(tasks_in(json.loads(filled(small_machine()))["States"]))
    train = tasks["train-b"]["Parameters"]["Overrides"]
    assert (train["Cpu"], train["Memory"], train["EphemeralStorage"]) == (
        "512",
        "1024",
        {"SizeInGiB": 40},
    )
    shard = tasks["hash_features shard"]["Parameters"]["Overrides"]["ContainerOverrides"][0]
    assert shard["Command"] == ["python", "-m", "infra.container.run_task", "hash_features"]
    given = {item["Name"]: item.get("Value", item.get("Value.$")) for item in shard["Environment"]}
    assert given["CLICKLAB_SHARDS"] == "2"
    assert given["CLICKLAB_RUN"] == "$.run"
    assert set(given) - {
        item["Name"] for item in train["ContainerOverrides"][0]["Environment"]
    } == {
        "CLICKLAB_SHARD",
        "CLICKLAB_SHARDS",
    }


def test_the_models_are_the_training_tasks():
    """What `make submit MODEL=` may name."""
    assert models_of(list(NEEDS)) == ["a", "b"]


@pytest.mark.slow
def test_the_template_in_the_repository_is_what_the_pipeline_compiles_to(
    tmp_path, monkeypatch, capsys
):
    """`make asl` was run after the last change; `--check` says so, and says no of another file."""
    monkeypatch.chdir(ROOT)
    assert main(["--check"]) == 0, capsys.readouterr().err
    other = tmp_path / "machine.json"
    other.write_text(OUT.read_text() + " ")
    assert main(["--check", "--out", str(other)]) == 1
    assert "run `make asl`" in capsys.readouterr().err


@pytest.mark.slow
def test_a_bad_knob_ends_the_command_with_one_line_and_writes_nothing(
    tmp_path, monkeypatch, capsys
):
    """Exit code 3, and no half-made template."""
    monkeypatch.chdir(ROOT)
    env = tmp_path / "env.yaml"
    env.write_text(
        (ROOT / "env.aws.yaml")
        .read_text()
        .replace("cpu: 512, memory_mb: 2048", "cpu: 512, memory_mb: 9")
    )
    out = tmp_path / "out.json"
    assert main(["--env", str(env), "--out", str(out), "--figure", str(tmp_path / "x.svg")]) == 3
    assert capsys.readouterr().err.count("\n") == 1
    assert not out.exists()


def test_the_picture_shows_every_task_and_is_the_same_twice(tmp_path):
    """Drawn from the definition; the same definition gives the same bytes, whatever style is in use."""
    first, second = tmp_path / "1.svg", tmp_path / "2.svg"
    draw(small_machine(), first)
    with mpl.rc_context({"figure.constrained_layout.use": True}):
        draw(small_machine(), second)
    assert first.read_bytes() == second.read_bytes()
    for name in NEEDS:
        assert f"<!-- {name}" in first.read_text() or f"{name}\n" in first.read_text()


# ---- linters


@pytest.mark.parametrize("lint", [moto_parser, botocore_shapes])
def test_the_small_machine_passes(lint):
    """moto's parser and botocore's shapes find nothing."""
    assert lint(filled(small_machine())) == ""


@pytest.mark.parametrize("lint", [moto_parser, botocore_shapes])
def test_the_pipelines_machine_passes(lint):
    """The template as Terraform would fill it in."""
    assert lint(fill((ROOT / OUT).read_text(), VALUES)) == ""


@pytest.mark.slow
def test_asl_validator_passes_both(asl_package):
    """The third witness: the npm package asl-validator."""
    both = [filled(small_machine()), fill((ROOT / OUT).read_text(), VALUES)]
    assert asl_validator(asl_package, both) == ["", ""]


def state(machine: dict, name: str) -> dict:
    """Return a state by name, wherever it lies."""
    found = []

    def look(states: dict) -> None:
        for key, value in states.items():
            if key == name:
                found.append(value)
            for inner in [
                *value.get("Branches", ()),
                *([value["ItemProcessor"]] if "ItemProcessor" in value else []),
            ]:
                look(inner["States"])

    look(machine["States"])
    return found[0]


def parameters(machine: dict) -> dict:
    """Return the parameters of the task `ingest`."""
    return state(machine, "ingest")["Parameters"]


def network(machine: dict) -> dict:
    """Return its network configuration."""
    return parameters(machine)["NetworkConfiguration"]["AwsvpcConfiguration"]


def override(machine: dict) -> dict:
    """Return its container's override."""
    return parameters(machine)["Overrides"]["ContainerOverrides"][0]


def rename(where: dict, old: str, new: str) -> None:
    """Give a key another name."""
    where[new] = where.pop(old)


MUTATIONS = {
    "a Next that leads nowhere": lambda m: state(m, "Level 0").update(Next="Level 9"),
    "a Catch that leads nowhere": lambda m: state(m, "Level 0")["Catch"][0].update(Next="Failre"),
    "a Default that leads nowhere": lambda m: state(m, "ingest: why?").update(Default="ingest: fail"),
    "a Choice that leads nowhere": lambda m: state(m, "Failure")["Choices"][0].update(Next="X"),
    "a StartAt that is not there": lambda m: m.update(StartAt="Default"),
    "a branch's StartAt that is not there": lambda m: state(m, "Level 0")["Branches"][0].update(StartAt="x"),
    "an outage that leads nowhere": lambda m: state(m, "ingest: why?")["Choices"][2].update(Next="ingest: unavailabl"),
    "a state that nobody reaches": lambda m: m["States"].update(alone={"Type": "Succeed"}),
    "a state without an end": lambda m: state(m, "ingest").pop("End"),
    "a state with an end and a Next": lambda m: state(m, "ingest: wait").update(End=True),
    "an unknown type of state": lambda m: state(m, "ingest").update(Type="Tsk"),
    "a Choice without choices": lambda m: state(m, "ingest: why?").update(Choices=[]),
    "a comparison that is not there": lambda m: rename(state(m, "ingest: needed?")["Choices"][0], "BooleanEquals", "BoolEquals"),
    "a variable that is no path": lambda m: state(m, "ingest: needed?")["Choices"][0].update(Variable="finished.is"),
    "an intrinsic function that is not there": lambda m: state(m, "ingest: how it ended")["Parameters"].update({"stopped.$": "States.StringToJsn($.error.Cause)"}),
    "a path that is not closed": lambda m: state(m, "ingest: again")["Parameters"].update({"attempt.$": "States.MathAdd($.attempt, 1"}),
    "a time limit in words": lambda m: state(m, "ingest").update(TimeoutSeconds="an hour"),
    "a Retry without errors": lambda m: state(m, "ingest")["Retry"][0].pop("ErrorEquals"),
    "a Wait for nothing": lambda m: state(m, "ingest: wait").pop("SecondsPath"),
    "a Map without states": lambda m: state(m, "hash_features shards").pop("ItemProcessor"),
    "an API that is not there": lambda m: state(m, "ingest").update(Resource="arn:aws:states:::ecs:runTsk.sync"),
    "a service that is not there": lambda m: state(m, "Tell success").update(Resource="arn:aws:states:::snss:publish"),
    "a typo in a parameter": lambda m: rename(parameters(m), "NetworkConfiguration", "NetworkConfigration"),
    "a typo in a nested parameter": lambda m: rename(network(m), "Subnets", "Subnet"),
    "a typo in a container's override": lambda m: rename(override(m), "Command", "Comand"),
    "a parameter in the API's own case": lambda m: rename(parameters(m), "Cluster", "cluster"),
    "a parameter that must be there": lambda m: parameters(m).pop("TaskDefinition"),
    "a parameter of another type": lambda m: override(m).update(Command="python"),
    "a number as text": lambda m: parameters(m)["CapacityProviderStrategy"][0].update(Weight="1"),
    "a value that is not allowed": lambda m: network(m).update(AssignPublicIp="NO"),
    "a path without a path": lambda m: rename(override(m)["Environment"][0], "Value.$", "Value.$") or override(m)["Environment"][0].update({"Value.$": "run"}),
}  # fmt: skip


@pytest.mark.slow
def test_every_mutation_is_caught_by_a_linter(asl_package):
    """Thirty-one ways to break a definition; what one linter overlooks another sees."""
    needs = {name: NEEDS[name] for name in ("ingest", "hash_features")}
    sizes = read_sizes({"aws": {"shards": {"hash_features": 2}}}, list(needs))
    whole = filled(compile_machine(order(needs), sizes))
    texts = {}
    for name, mutate in MUTATIONS.items():
        machine = json.loads(whole)
        mutate(machine)
        texts[name] = json.dumps(machine)
        assert machine != json.loads(whole), name
    said = dict(zip(texts, asl_validator(asl_package, list(texts.values())), strict=True))
    shapes = {name: botocore_shapes(text) for name, text in texts.items()}
    missed = [name for name in texts if not said[name] and not shapes[name]]
    assert [name for name in missed if not moto_parser(texts[name])] == []
    assert sum(bool(shapes[name]) and not said[name] for name in texts) >= 8, (
        "typos that no linter sees"
    )
    assert moto_parser(texts["an unknown type of state"])
    assert moto_parser(texts["a service that is not there"])


def test_a_wrong_parameter_is_named_with_its_state():
    """Where it is, what it is, what it should be."""
    machine = json.loads(filled(small_machine()))
    network(machine)["AssignPublicIp"] = "NO"
    (line,) = wrong_parameters(machine)
    assert line.startswith("ingest: NetworkConfiguration.AwsvpcConfiguration.AssignPublicIp")
    assert "ENABLED, DISABLED" in line
