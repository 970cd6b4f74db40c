"""Dask on Fargate: what env.aws.yaml would ask of AWS, without asking it."""

import importlib
import inspect
import re
import sys
import types

import pytest
import yaml

from tasks.cluster.engine import connect
from tasks.cluster.fargate import start_fargate
from tasks.errors import ConfigError
from tests.conftest import ROOT

# Of dask-cloudprovider 2025.9.0; FargateCluster adds fargate_scheduler and fargate_workers, both true.
KNOWN = re.findall(
    r"\w+",
    """
fargate_scheduler fargate_workers fargate_spot image cpu_architecture scheduler_cpu scheduler_mem
scheduler_port scheduler_timeout scheduler_extra_args scheduler_task_definition_arn
scheduler_task_kwargs scheduler_address worker_cpu worker_nthreads worker_mem worker_gpu
worker_extra_args worker_task_definition_arn worker_task_kwargs n_workers workers_name_start
workers_name_step cluster_arn cluster_name_template execution_role_arn task_role_arn
task_role_policies cloudwatch_logs_group cloudwatch_logs_stream_prefix
cloudwatch_logs_default_retention vpc subnets security_groups environment tags skip_cleanup
aws_access_key_id aws_secret_access_key region_name platform_version fargate_use_private_ip
mount_points volumes mount_volumes_on_scheduler
""",
)
KNOBS = yaml.safe_load((ROOT / "env.aws.yaml").read_text())["fargate"]
VARIABLES = sorted(set(re.findall(r"\$\{(\w+)\}", str(KNOBS))))


class ECSCluster:
    """Stands in for dask-cloudprovider's: the same arguments, and nothing started."""

    def __init__(self, **options):
        self.options = options


ECSCluster.__init__.__signature__ = inspect.Signature(
    [inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    + [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None) for name in KNOWN]
    + [inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD)]
)


class FargateCluster(ECSCluster):
    def __init__(self, **kwargs):
        super().__init__(fargate_scheduler=True, fargate_workers=True, **kwargs)


@pytest.fixture
def provider(monkeypatch):
    """A stand-in for the package, and an environment in which every variable has a value."""
    module = types.ModuleType("dask_cloudprovider.aws")
    module.FargateCluster = FargateCluster
    monkeypatch.setitem(sys.modules, "dask_cloudprovider", types.ModuleType("dask_cloudprovider"))
    monkeypatch.setitem(sys.modules, "dask_cloudprovider.aws", module)
    for name in VARIABLES:
        monkeypatch.setenv(name, f"value-of-{name}")
    return module


def test_the_knobs_of_aws_reach_the_cluster(provider):
    """Every option under the name that FargateCluster has for it, variables filled in, numbers as they are."""
    asked = start_fargate(KNOBS).options
    assert set(asked) - {"fargate_scheduler", "fargate_workers"} == set(KNOBS) <= set(KNOWN)
    assert asked["image"] == "value-of-CLICKLAB_DASK_IMAGE"
    assert asked["subnets"] == ["value-of-CLICKLAB_SUBNET_A", "value-of-CLICKLAB_SUBNET_B"]
    assert (asked["n_workers"], asked["worker_nthreads"]) == (4, 1)
    assert "${" not in str(asked)


def test_nothing_is_open_to_the_world():
    """Anyone who reaches a Dask scheduler can run code."""
    assert KNOBS["fargate_use_private_ip"] is True
    assert KNOBS["security_groups"]


def test_switching_is_one_line():
    """The knob that env.aws.yaml names in its comment is one that the engine takes."""
    text = (ROOT / "env.aws.yaml").read_text()
    (hint,) = re.findall(r"^engine: local +# or (\{.+?\}\}),", text, re.M)
    knobs = yaml.safe_load(re.sub(r"^engine: local.*$", f"engine: {hint}", text, flags=re.M))
    assert knobs["engine"] == {"dask": {"fargate": KNOBS}}


def test_the_shapes_are_those_of_ecs():
    """Volumes and mount points are handed to ECS as they are; boto's own model of it takes them."""
    botocore = pytest.importorskip("botocore.session")
    from botocore.validate import ParamValidator

    model = botocore.get_session().get_service_model("ecs")
    shape = model.operation_model("RegisterTaskDefinition").input_shape
    container = {"name": "dask-worker", "mountPoints": KNOBS["mount_points"]}
    asked = {"family": "dask", "containerDefinitions": [container], "volumes": KNOBS["volumes"]}
    assert not ParamValidator().validate(asked, shape).generate_report()
    assert {point["sourceVolume"] for point in KNOBS["mount_points"]} == {
        volume["name"] for volume in KNOBS["volumes"]
    }


@pytest.mark.parametrize("role", ["worker", "scheduler"])
def test_fargate_has_containers_of_that_size(role):
    """One processor comes with 2 to 8 GB."""
    assert KNOBS[f"{role}_cpu"] == 1024
    assert KNOBS[f"{role}_mem"] in range(2048, 8193, 1024)


def test_the_stand_in_takes_what_the_real_one_takes():
    """Where dask-cloudprovider is installed, its own signature is compared."""
    pytest.importorskip("dask_cloudprovider", reason="an environment of its own: docs/dask.md")
    real = importlib.import_module("dask_cloudprovider.aws")
    names = set(inspect.signature(real.ECSCluster.__init__).parameters) - {"self", "kwargs"}
    assert set(KNOBS) <= names
    assert names == set(KNOWN)


def test_missing_variables_are_named_together(provider, monkeypatch):
    """Before anything is started; an empty one is as good as none."""
    monkeypatch.delenv("CLICKLAB_VPC")
    monkeypatch.setenv("CLICKLAB_EFS", "")
    with pytest.raises(ConfigError, match="the variables CLICKLAB_EFS, CLICKLAB_VPC, which are"):
        start_fargate(KNOBS)


def test_a_misspelt_option_is_named(provider):
    """dask-cloudprovider would hand it on until somebody stumbles over it."""
    with pytest.raises(ConfigError, match="no option 'worker_memory'; did you mean 'worker_mem'"):
        start_fargate({"n_workers": 1, "worker_memory": 4096})


def test_a_cluster_that_does_not_start_is_one_line(provider, monkeypatch):
    """No credentials, no quota, no such subnet: AWS's own words, on one line."""

    def refuse(self, **options):
        raise RuntimeError("Cluster failed to start:\nUnable to locate credentials")

    monkeypatch.setattr(FargateCluster, "__init__", refuse)
    with (
        pytest.raises(ConfigError, match=r"did not start \(Cluster failed to start: Unable to loc"),
        connect({"dask": {"fargate": {"n_workers": 1}}}),
    ):
        pass
