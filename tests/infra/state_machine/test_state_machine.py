"""The plan and the definition: what the DAG becomes, what is refused, that three linters accept it and catch what is broken."""

import json

import pytest

from infra.state_machine import plan as plans
from infra.state_machine.__main__ import MACHINE, OUT, main, render
from infra.state_machine.dag import MAX_NAME, models_of, order
from infra.state_machine.plan import make_plan
from infra.state_machine.retry import exit_names
from infra.state_machine.sizes import MEMORY_MB, read_sizes
from tasks import errors
from tasks.errors import ConfigError
from tests.conftest import ROOT
from tests.infra.asl_lint import wrong_parameters
from tests.infra.lint import asl_validator, botocore_shapes, installed_asl_validator, moto_parser
from tests.infra.machine import VALUES, deployed

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


def small_plan() -> dict:
    """Return the plan of a DAG with all that a pipeline has: levels, models, shards, sizes."""
    return make_plan(order(NEEDS), read_sizes({"aws": KNOBS}, list(NEEDS)))


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
        ({"a": ("b",), "b": ("a",)}, r"cycle \(a -> b -> a\)"),
        ({"a": ("a",)}, r"cycle \(a -> a\)"),
        ({"a": ("z",)}, "'a' needs 'z', which pipeline.yaml does not have"),
        ({"a b": ()}, "names of letters, digits"),
        ({"a*": ()}, "names of letters, digits"),
        ({"${x}": ()}, "names of letters, digits"),
        ({"é": ()}, "names of letters, digits"),
        ({"": ()}, "names of letters, digits"),
        ({"a" * (MAX_NAME + 1): ()}, f"{MAX_NAME} characters maximum"),
        ({"Train": (), "train": ()}, "'Train' and 'train' become one name"),
    ],
)
def test_a_graph_that_cannot_be_expressed_is_refused_in_one_line(needs, said):
    """Circles, unknown tasks, and names that Step Functions, S3 or a person would mix up."""
    with pytest.raises(ConfigError, match=said) as caught:
        order(needs)
    assert "\n" not in str(caught.value)


def test_a_plan_that_is_too_large_is_refused():
    """A state's data is limited."""
    needs = {f"task-{number:03d}": () for number in range(900)}
    with pytest.raises(ConfigError, match=f"Step Functions takes {plans.MAX_BYTES:,}"):
        make_plan(order(needs), read_sizes({"aws": {}}, list(needs)))


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


# ---- the plan and the definition


def test_the_levels_are_those_of_the_dag_and_shards_come_before_their_task():
    """What each container is started with: size, limit, shard, model."""
    levels = [
        [f"{one['name']} {one['shard']}".strip() for one in level]
        for level in small_plan()["levels"]
    ]
    assert levels == [
        ["ingest"],
        ["hash_features 0", "hash_features 1"],
        ["hash_features"],
        ["train-a", "train-b"],
        ["report"],
    ]
    assert small_plan()["levels"][3][1] == {
        "name": "train-b",
        "shard": "",
        "shards": "",
        "model": "b",
        "cpu": "512",
        "memory_mb": "1024",
        "disk_gb": 40,
        "time_limit_s": 3600,
    }


def test_a_task_beside_a_sharded_one_runs_beside_its_shards():
    """It does not wait for them."""
    needs = {"ingest": (), "explore": ("ingest",), "hash_features": ("ingest",)}
    plan = make_plan(order(needs), read_sizes({"aws": KNOBS | {"sizes": {}}}, list(needs)))
    assert [one["name"] for one in plan["levels"][1]] == ["explore", *["hash_features"] * 2]


def test_the_limits_are_those_of_the_knobs():
    """Attempts, and the capacity of the first one."""
    knobs = {"attempts": 3, "attempts_unavailable": 7, "spot": False}
    found = make_plan(order(NEEDS), read_sizes({"aws": knobs}, list(NEEDS)))["defaults"]
    assert (found["attempts"], found["attempts_unavailable"]) == (3, 7)
    assert found["capacity"] == "FARGATE"
    assert small_plan()["defaults"]["capacity"] == "FARGATE_SPOT"


def test_a_plan_is_written_one_container_per_line():
    """And read back as it was."""
    text = render(small_plan())
    assert json.loads(text) == small_plan()
    assert sum('"cpu"' in line for line in text.splitlines()) == 7


def test_all_that_differs_by_deployment_is_left_to_terraform():
    """The definition names each value, and nothing of an account is in it."""
    text = (ROOT / MACHINE).read_text()
    assert [name for name in (*VALUES, "plan") if "${" + name + "}" not in text] == []
    assert "123456789012" not in text
    assert "${" not in deployed(small_plan())


def test_each_exit_code_is_named_after_its_class():
    """The codes of tasks/errors.py, none left out."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    own = [kind for kind in kinds if issubclass(kind, errors.ClicklabError)]
    codes = {kind.exit_code for kind in own if "exit_code" in vars(kind)}
    assert codes == set(range(1, len(exit_names())))
    assert exit_names()[1:4] == ["Defect", "InputError", "ConfigError"]
    for kind in own:
        if kind.exit_code > 1 and "exit_code" in vars(kind):
            assert exit_names()[kind.exit_code] == kind.__name__


def test_the_definition_knows_the_code_of_unavailability():
    """The only number of tasks/errors.py that is written in the definition, and the highest of them."""
    code = errors.UnavailableError.exit_code
    (choice,) = [
        one
        for one in state(json.loads(deployed(small_plan())), "Why did it end?")["Choices"]
        if one.get("Next") == "Retry when available"
    ]
    assert choice["And"][0]["NumericEquals"] == code == len(exit_names()) - 1


def test_the_models_are_the_training_tasks():
    """What `make submit MODEL=` may name."""
    assert models_of(list(NEEDS)) == ["a", "b"]


@pytest.mark.slow
def test_the_plan_in_the_repository_is_that_of_the_pipeline(tmp_path, monkeypatch, capsys):
    """`make asl` was run after the last change; `--check` finds an outdated file."""
    monkeypatch.chdir(ROOT)
    assert main(["--check"]) == 0, capsys.readouterr().err
    other = tmp_path / "plan.json"
    other.write_text(OUT.read_text() + " ")
    assert main(["--check", "--out", str(other)]) == 1
    assert "run `make asl`" in capsys.readouterr().err


@pytest.mark.slow
def test_a_bad_knob_ends_the_command_with_one_line_and_writes_nothing(
    tmp_path, monkeypatch, capsys
):
    """Exit code 3, and no partial plan."""
    monkeypatch.chdir(ROOT)
    env = tmp_path / "env.yaml"
    env.write_text(
        (ROOT / "env.aws.yaml")
        .read_text()
        .replace("cpu: 512, memory_mb: 2048", "cpu: 512, memory_mb: 9")
    )
    out = tmp_path / "out.json"
    assert main(["--env", str(env), "--out", str(out)]) == 3
    assert capsys.readouterr().err.count("\n") == 1
    assert not out.exists()


# ---- linters


@pytest.mark.parametrize("lint", [moto_parser, botocore_shapes])
def test_the_definition_passes(lint):
    """moto's parser and botocore's shapes find nothing, with a small plan and with the pipeline's."""
    assert lint(deployed(small_plan())) == ""
    assert lint(deployed(json.loads((ROOT / OUT).read_text()))) == ""


@pytest.mark.slow
def test_asl_validator_passes_it(asl_package):
    """The third witness: the npm package asl-validator."""
    assert asl_validator(asl_package, [deployed(small_plan())]) == [""]


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
    """Return the parameters of the state that runs a container."""
    return state(machine, "Run")["Parameters"]


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
    "a Next that leads nowhere": lambda m: state(m, "Levels").update(Next="Level 9"),
    "a Catch that leads nowhere": lambda m: state(m, "Levels")["Catch"][0].update(Next="Failre"),
    "a Default that leads nowhere": lambda m: state(m, "Why did it end?").update(Default="Fail"),
    "a Choice that leads nowhere": lambda m: state(m, "Failure")["Choices"][0].update(Next="X"),
    "a StartAt that is not there": lambda m: m.update(StartAt="Default"),
    "a branch's StartAt that is not there": lambda m: state(m, "Failure of a task")["Branches"][0].update(StartAt="x"),
    "an outage that leads nowhere": lambda m: state(m, "Why did it end?")["Choices"][3].update(Next="Retry when availabl"),
    "a state that nobody reaches": lambda m: m["States"].update(alone={"Type": "Succeed"}),
    "a state without an end": lambda m: state(m, "Run").pop("End"),
    "a state with an end and a Next": lambda m: state(m, "Wait").update(End=True),
    "an unknown type of state": lambda m: state(m, "Run").update(Type="Tsk"),
    "a Choice without choices": lambda m: state(m, "Why did it end?").update(Choices=[]),
    "a comparison that is not there": lambda m: rename(state(m, "Is it needed?")["Choices"][0], "BooleanEquals", "BoolEquals"),
    "a variable that is no path": lambda m: state(m, "Is it needed?")["Choices"][0].update(Variable="is.done"),
    "an intrinsic function that is not there": lambda m: state(m, "Read the cause")["Parameters"].update({"stopped.$": "States.StringToJsn($.error.Cause)"}),
    "a path that is not closed": lambda m: state(m, "Retry after an interruption")["Parameters"].update({"attempt.$": "States.MathAdd($.attempt, 1"}),
    "a time limit in words": lambda m: state(m, "Run").update(TimeoutSecondsPath="an hour"),
    "a Retry without errors": lambda m: state(m, "Run")["Retry"][0].pop("ErrorEquals"),
    "a Wait for nothing": lambda m: state(m, "Wait").pop("SecondsPath"),
    "a Map without states": lambda m: state(m, "Tasks").pop("ItemProcessor"),
    "an API that is not there": lambda m: state(m, "Run").update(Resource="arn:aws:states:::ecs:runTsk.sync"),
    "a service that is not there": lambda m: state(m, "Notify success").update(Resource="arn:aws:states:::snss:publish"),
    "a typo in a parameter": lambda m: rename(parameters(m), "NetworkConfiguration", "NetworkConfigration"),
    "a typo in a nested parameter": lambda m: rename(network(m), "Subnets", "Subnet"),
    "a typo in a container's override": lambda m: rename(override(m), "Command.$", "Comand.$"),
    "a parameter in the API's own case": lambda m: rename(parameters(m), "Cluster", "cluster"),
    "a parameter that must be there": lambda m: parameters(m).pop("TaskDefinition"),
    "a parameter of another type": lambda m: override(m).update(Environment="python"),
    "a number as text": lambda m: parameters(m)["CapacityProviderStrategy"][0].update(Weight="1"),
    "a value that is not allowed": lambda m: network(m).update(AssignPublicIp="NO"),
    "a path without a path": lambda m: rename(override(m)["Environment"][0], "Value.$", "Value.$") or override(m)["Environment"][0].update({"Value.$": "run"}),
}  # fmt: skip


@pytest.mark.slow
def test_every_mutation_is_caught_by_a_linter(asl_package):
    """Thirty-one ways to break a definition; what one linter overlooks another sees."""
    whole = deployed(small_plan())
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
    machine = json.loads(deployed(small_plan()))
    network(machine)["AssignPublicIp"] = "NO"
    (line,) = wrong_parameters(machine)
    assert line.startswith("Run: NetworkConfiguration.AwsvpcConfiguration.AssignPublicIp")
    assert "ENABLED, DISABLED" in line
