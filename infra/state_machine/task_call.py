"""What ``ecs:runTask`` is called with for one container: its command, variables, size and place."""

from typing import Any

from infra.state_machine.sizes import Size

CONTAINER = "pipeline"


def run_task_parameters(task: str, size: Size, *, n_shards: int = 0) -> dict[str, Any]:
    """Return what ``ecs:runTask`` is called with; ``${...}`` are filled in by Terraform."""
    environment: list[dict[str, str]] = [
        {"Name": "CLICKLAB_RUN", "Value.$": "$.run"},
        {"Name": "CLICKLAB_DATA", "Value.$": "$.data"},
        {"Name": "CLICKLAB_MODEL", "Value.$": "$.model"},
        {"Name": "CLICKLAB_ATTEMPT", "Value.$": "States.Format('{}', $.attempt)"},
    ]
    if n_shards:
        environment += [
            {"Name": "CLICKLAB_SHARD", "Value.$": "States.Format('{}', $.shard)"},
            {"Name": "CLICKLAB_SHARDS", "Value": str(n_shards)},
        ]
    overrides: dict[str, Any] = {
        "Cpu": str(size.cpu),
        "Memory": str(size.memory_mb),
        "ContainerOverrides": [
            {
                "Name": CONTAINER,
                "Command": ["python", "-m", "infra.container.run_task", task],
                "Environment": environment,
            }
        ],
    }
    if size.disk_gb is not None:
        overrides["EphemeralStorage"] = {"SizeInGiB": size.disk_gb}
    return {
        "Cluster": "${cluster}",
        "TaskDefinition": "${task_definition}",
        "CapacityProviderStrategy": [{"CapacityProvider.$": "$.capacity", "Weight": 1}],
        "NetworkConfiguration": {
            "AwsvpcConfiguration": {
                "Subnets": "${subnets}",
                "SecurityGroups": "${security_groups}",
                "AssignPublicIp": "DISABLED",
            }
        },
        "Overrides": overrides,
        "PropagateTags": "TASK_DEFINITION",
    }
