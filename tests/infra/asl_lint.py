"""What no linter of state machines sees: whether a task's ``Parameters`` are those of the API it calls.

Step Functions calls APIs by their names in PascalCase. The members, their types and allowed values are
compared with the shapes that botocore carries.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

BOTO_NAMES = {"sfn": "stepfunctions", "states": "stepfunctions"}
_PREFIX = "arn:aws:states:::"
_SCALARS: Mapping[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "long": int,
    "boolean": bool,
    "float": (int, float),
    "double": (int, float),
}


def fill(template: str, values: Mapping[str, str]) -> str:
    """Return the template as Terraform's ``templatefile`` would: what this project uses of it."""
    text = template
    for name, value in values.items():
        text = text.replace("${" + name + "}", value)
    return text


def wrong_parameters(definition: Mapping[str, Any]) -> list[str]:
    """Return one line for each parameter that its API does not have, lacks, or takes otherwise."""
    found = []
    for name, state in tasks_in(definition["States"]):
        service, action = _api(state["Resource"])
        shape = _input_shape(service, action)
        if shape is None:
            found.append(f"{name}: {state['Resource']} is no API that botocore knows")
            continue
        found += [f"{name}: {line}" for line in _wrong(state.get("Parameters", {}), shape, "")]
    return found


def tasks_in(states: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield name and state of every task, those in branches and maps included."""
    for name, state in states.items():
        if state.get("Type") == "Task":
            yield name, state
        inner = [
            *state.get("Branches", ()),
            *([state["ItemProcessor"]] if "ItemProcessor" in state else []),
        ]
        for machine in inner:
            yield from tasks_in(machine["States"])


def _api(resource: str) -> tuple[str, str]:
    """Return service and action of ``arn:aws:states:::[aws-sdk:]service:action[.sync]``."""
    words = resource.removeprefix(_PREFIX).removeprefix("aws-sdk:").split(":")
    service, action = words if len(words) == 2 else ("", resource)
    return BOTO_NAMES.get(service, service), action.split(".")[0]


@cache
def _input_shape(service: str, action: str) -> Any:
    import botocore.session
    from botocore.exceptions import UnknownServiceError

    session = botocore.session.get_session()
    try:
        model = session.get_service_model(service)
    except UnknownServiceError:
        return None
    operation = action[:1].upper() + action[1:]
    return (
        model.operation_model(operation).input_shape if operation in model.operation_names else None
    )


def _wrong(value: Any, shape: Any, path: str) -> list[str]:
    if shape.type_name == "structure":
        return _wrong_members(value, shape, path)
    if shape.type_name == "list":
        if not isinstance(value, list):
            return [f"{path} must be a list, found {value!r}"]
        return [
            line
            for i, one in enumerate(value)
            for line in _wrong(one, shape.member, f"{path}[{i}]")
        ]
    kind = _SCALARS.get(shape.type_name)
    if kind is None:
        return []
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        return [f"{path} must be a {shape.type_name}, found {value!r}"]
    allowed = getattr(shape, "enum", None)
    if allowed and value not in allowed:
        return [f"{path} must be one of {', '.join(allowed)}, found {value!r}"]
    return []


def _wrong_members(value: Any, shape: Any, path: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{path} must be an object, found {value!r}"]
    members = {name[:1].upper() + name[1:]: member for name, member in shape.members.items()}
    required = {name[:1].upper() + name[1:] for name in shape.required_members}
    given = {key.removesuffix(".$"): (key, one) for key, one in value.items()}
    lines = [f"{path}.{name}".lstrip(".") + " is missing" for name in sorted(required - set(given))]
    for name, (key, one) in given.items():
        where = f"{path}.{name}".lstrip(".")
        if name not in members:
            lines.append(f"{where} is no member of {shape.name}")
        elif key == name:
            lines += _wrong(one, members[name], where)
        elif not (isinstance(one, str) and one.startswith(("$", "States."))):
            lines.append(f"{where} must be a path or an intrinsic function, found {one!r}")
    return lines
