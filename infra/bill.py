"""What a deployment is billed for: one line an item, from its variables, a price table and assumed usage."""

from collections.abc import Iterator, Mapping

from infra.prices import Line, Table, Variables
from infra.sizes import Size


def lines(variables: Variables, containers: Mapping[Size, int], table: Table) -> list[Line]:
    """Return every billed item of a deployment whose pipeline starts these containers in a run."""
    parts = [_network, _storage, _observability]
    parts += [_tracking] if variables["tracking"] else []
    parts += [_serving] if variables["serving"] else []
    billed = [line for part in parts for line in part(variables, table)]
    return [*billed, *_pipeline(variables, containers, table)]


def _network(variables: Variables, table: Table) -> Iterator[Line]:
    use, price = table.usage, table.price
    n_endpoints, n_zones = len(variables["interface_endpoints"]), variables["endpoint_zones"]
    yield Line(
        "network",
        "interface endpoints",
        f"{n_endpoints} in {n_zones} zone{'s' if n_zones > 1 else ''}",
        n_endpoints * n_zones * use["hours"],
        "h",
        price("interface_endpoint_hour"),
    )
    yield Line(
        "network", "through them", "", use["endpoint_gb"], "GB", price("interface_endpoint_gb")
    )
    if variables["internet_access"]:
        yield Line("network", "NAT gateway", "1", use["hours"], "h", price("nat_gateway_hour"))
        yield Line("network", "through it", "", use["internet_gb"], "GB", price("nat_gateway_gb"))
        yield Line("network", "its address", "1", use["hours"], "h", price("public_address_hour"))


def _storage(variables: Variables, table: Table) -> Iterator[Line]:
    use, price = table.usage, table.price
    kept_runs = use["runs"] * (variables["run_days"] + variables["noncurrent_days"]) / 30.4
    stored_gb = use["data_gb"] + use["run_gb"] * kept_runs
    yield Line(
        "storage",
        "bucket",
        f"{kept_runs:.0f} runs kept and the rest",
        stored_gb,
        "GB",
        price("s3_gb_month"),
    )
    yield Line("storage", "images", "", use["images_gb"], "GB", price("repository_gb_month"))
    yield Line("storage", "encryption key", "1", 1, "key", price("key_month"))


def _pipeline(variables: Variables, containers: Mapping[Size, int], table: Table) -> Iterator[Line]:
    """Return what runs cost; their hours are taken to be shared alike by their containers."""
    use, price = table.usage, table.price
    hours = use["runs"] * use["task_hours_per_run"] / sum(containers.values())
    for size, n in sorted(containers.items(), key=lambda one: (one[0].cpu, one[0].memory_mb)):
        what = f"{n} container{'s' if n > 1 else ''}"
        disk_gb = (size.disk_gb or variables["pipeline_disk_gb"]) - 20
        pair = {"cpu": size.cpu, "memory_mb": size.memory_mb}
        yield from _tasks("pipeline", what, n * hours, pair, variables, table)
        yield Line(
            "pipeline",
            f"{what}: disk",
            f"{disk_gb} GB beyond 20, {n * hours:,.0f} h",
            disk_gb * n * hours,
            "GB h",
            price("fargate_disk_gb_hour"),
        )
    yield Line(
        "pipeline",
        "state transitions",
        f"{use['runs']:.1f} runs",
        use["runs"] * use["transitions_per_run"] / 1000,
        "thousand",
        price("state_transition_thousand"),
    )


def _observability(variables: Variables, table: Table) -> Iterator[Line]:
    use, price = table.usage, table.price
    n_alarms = table.n_made("alarms", variables) + table.n_made("scaling_alarms", variables)
    n_metrics = table.n_made("custom_metrics", variables)
    if variables["container_insights"]:
        n_metrics += table.n_made("insight_metrics", variables)
    kept_gb = use["log_gb"] * variables["log_days"] / 30.4
    yield Line("observability", "logs written", "", use["log_gb"], "GB", price("log_ingest_gb"))
    yield Line(
        "observability",
        "logs kept",
        f"{variables['log_days']} days",
        kept_gb,
        "GB",
        price("log_gb_month"),
    )
    yield Line("observability", "alarms", "", n_alarms, "alarm", price("alarm_month"))
    yield Line("observability", "metrics", "", n_metrics, "metric", price("metric_month"))
    yield Line("observability", "dashboard", "", 1, "dashboard", price("dashboard_month"))


def _tracking(variables: Variables, table: Table) -> Iterator[Line]:
    use, price = table.usage, table.price
    size, database = variables["tracking_size"], variables["database"]
    n_copies = 2 if database["multi_az"] else 1
    copies = "and a standby" if n_copies == 2 else "1"
    hours = size["tasks"] * use["hours"]
    yield from _tasks("tracking", "MLflow", hours, size, variables, table)
    yield Line(
        "tracking",
        f"database {database['class']}",
        copies,
        n_copies * use["hours"],
        "h",
        price("database_hour", database["class"]),
    )
    yield Line(
        "tracking",
        "its disk",
        copies,
        n_copies * database["storage_gb"],
        "GB",
        price("database_gb_month"),
    )
    yield Line("tracking", "load balancer", "1", use["hours"], "h", price("load_balancer_hour"))
    yield Line("tracking", "database's password", "1", 1, "secret", price("secret_month"))


def _serving(variables: Variables, table: Table) -> Iterator[Line]:
    use, price = table.usage, table.price
    yield from _tasks(
        "serving",
        "tasks",
        use["average_tasks"] * use["hours"],
        variables["service_size"],
        variables,
        table,
    )
    yield Line("serving", "load balancer", "1", use["hours"], "h", price("load_balancer_hour"))
    yield Line(
        "serving",
        "its capacity",
        f"{use['capacity_units']:g} LCU",
        use["capacity_units"] * use["hours"],
        "LCU h",
        price("load_balancer_lcu_hour"),
    )
    yield from _exposures(variables, table)
    if variables["public"]:
        n_addresses = len(variables["zones"])
        yield Line(
            "serving",
            "public addresses",
            str(n_addresses),
            n_addresses * use["hours"],
            "h",
            price("public_address_hour"),
        )
        yield Line(
            "serving", "to the internet", "", use["internet_gb"], "GB", price("transfer_out_gb")
        )


def _exposures(variables: Variables, table: Table) -> Iterator[Line]:
    """Return the exposure log's storage: 30 days in standard, the rest of its days in infrequent access."""
    month_gb = table.usage["requests_million"] * table.usage["exposure_bytes"] / 1000
    older = (variables["exposure_days"] - 30) / 30.4
    yield Line("serving", "exposures", "30 days", month_gb, "GB", table.price("s3_gb_month"))
    yield Line(
        "serving",
        "older exposures",
        f"{variables['exposure_days'] - 30} days",
        month_gb * older,
        "GB",
        table.price("s3_infrequent_gb_month"),
    )


def _tasks(
    part: str, what: str, hours: float, size: Variables, variables: Variables, table: Table
) -> Iterator[Line]:
    """Return what containers of a size cost for so many hours, processors and memory."""
    n_vcpu, memory_gb, kind = (
        size["cpu"] / 1024,
        size["memory_mb"] / 1024,
        variables["architecture"],
    )
    yield Line(
        part,
        f"{what}: processors",
        f"{n_vcpu:g} vCPU, {hours:,.0f} h",
        n_vcpu * hours,
        "vCPU h",
        table.price("fargate_vcpu_hour", kind),
    )
    yield Line(
        part,
        f"{what}: memory",
        f"{memory_gb:g} GB, {hours:,.0f} h",
        memory_gb * hours,
        "GB h",
        table.price("fargate_gb_hour", kind),
    )
