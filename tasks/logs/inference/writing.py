"""The first schema of a log, and the knobs that name it, as files; what is there is never overwritten unasked."""

import re
from pathlib import Path

from tasks.errors import ConfigError
from tasks.logs.inference.draft import draft_schema
from tasks.logs.origin import DATA_SUFFIXES, split_member
from tasks.storage.files import write_atomic

_ENV = """# What differs from env.yaml for the log that {schema} describes: `make run ENV={env}`.
data: {data}
schema: {schema}
products: {products}
bento: {{name: {bento}}}
"""


def write_first_schema(
    source: str, *, out: str = "", label: str | None = None, force: bool = False
) -> list[str]:
    """Write a first schema for a log, and beside env.yaml a file of knobs that names both; return what to say.

    Parameters
    ----------
    source
        As for :func:`tasks.ingest.ingest_log`.
    out
        The file of the schema, whose stem is the log's name; empty: in ``tasks/schemas``, by the name of the log's file.
    label
        The column of clicks, if it is known.
    force
        Whether files that are there are overwritten.

    Raises
    ------
    ConfigError
        If a file is there already, or `out` is no YAML file.
    InputError
        If the log cannot be read, or no column looks like a label.
    """
    if source.startswith("sim://"):
        raise ConfigError(f"{source}: a simulated log is described by tasks/schemas/avazu.yaml")
    path = Path(out) if out else Path("tasks/schemas") / f"{_name_of(source)}.yaml"
    name = path.stem
    if path.suffix not in (".yaml", ".yml") or _name_of(name) != name:
        raise ConfigError(
            f"{path}: the schema's file must be a name of letters, digits and _ - that ends in .yaml; write OUT=tasks/schemas/shop.yaml"
        )
    env = Path(f"env.{name}.yaml")
    for file in (path, env):
        if file.exists() and not force:
            raise ConfigError(
                f"{file} is there already; name another with OUT=tasks/schemas/shop.yaml, or overwrite it with FORCE=1"
            )
    draft = draft_schema(source, name, label=label)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, draft.text)
    knobs = {
        "env": env,
        "data": _quoted(source),
        "schema": path.as_posix(),
        "products": f"products/{name}",
        "bento": f"ctr_{name.lower()}",
    }
    write_atomic(env, _ENV.format(**knobs))
    return [
        *draft.summary,
        f"1. read {path}, and change what is wrong: every choice says why",
        f"2. {env} names the log, the schema and a folder for the products",
        f"3. make run ENV={env}",
    ]


def _name_of(source: str) -> str:
    """Return the name of a log by that of its file.

    Examples
    --------
    >>> _name_of("s3://bucket/day 1/train.csv.gz"), _name_of("all.zip!clicks.tsv"), _name_of("logs/")
    ('train', 'clicks', 'logs')
    """
    archive, member = split_member(source)
    last = (member or archive).rstrip("/").rsplit("/", 1)[-1]
    suffixes = "|".join(re.escape(suffix) for suffix in (*DATA_SUFFIXES, ".yaml", ".yml"))
    stem = re.sub(rf"(?:{suffixes})+$", "", last, flags=re.IGNORECASE)
    return re.sub(r"[^A-Za-z0-9_-]+", "_", stem).strip("_-")[:100] or "log"


def _quoted(text: str) -> str:
    plain = re.fullmatch(r"[A-Za-z0-9_./][\w./:-]*", text, re.ASCII)
    return text if plain else "'" + text.replace("'", "''") + "'"
