"""Build, list and push the images: ``python -m infra.images build|sbom|push [pipeline] [service] [tracking]``.

Pipeline and tracking are tagged with the commit's id, the service with its Bento's tag: one commit makes many
Bentos, and tags in the registry are immutable.
"""

import argparse
import base64
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from infra.aws import check_account, client, need, outputs, readable_aws_errors, run_verb
from infra.images.context import commit, find_bento, staged
from infra.images.engine import Engine, find_engine
from infra.images.local_images import architecture_of
from infra.images.pushed import PUSHED, image_tag, is_pushed, record_pushed
from infra.images.sbom import write_sboms
from tasks.errors import ConfigError
from tasks.knobs.reading import read_env
from tasks.serving.bento_store import packaged

NAMES = ("pipeline", "service", "tracking")
_CPUS = {
    "X86_64": "x86-64-v3",
    "ARM64": "neoverse-n1",
}  # AVX2 and Graviton 2: assumed to be Fargate's oldest, which AWS does not document
_BASE = "another base image, such as a mirror's or a local one; default: CLICKLAB_BASE"


def main(words: Sequence[str] | None = None) -> int:
    """Run one verb; a known error is one line and its exit code."""
    asked = _parse(words)

    def verb() -> None:
        tags = _tags(asked)
        if asked.verb == "build":
            _build(asked, tags)
        elif asked.verb == "sbom":
            write_sboms({name: _local(name, tag) for name, tag in tags.items()})
        else:
            _push(tags)

    return run_verb(verb)


def _parse(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m infra.images", description=str(__doc__).split("\n")[0]
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb, about in (
        ("build", "build them on this machine"),
        ("sbom", "write what they contain to products/sbom, by syft"),
        ("push", "push them to the deployment's ECR"),
    ):
        one = verbs.add_parser(verb, help=about)
        one.add_argument("names", nargs="*", metavar="|".join(NAMES), help="default: all")
        one.add_argument(
            "--dirty", action="store_true", help="even if files differ from the commit"
        )
        one.add_argument(
            "--bento", default="", help="tag or .bento file; default: what the pipeline packaged"
        )
        one.add_argument("--tag", default="", help="instead of the commit's id and the Bento's tag")
        one.add_argument("--architecture", choices=["X86_64", "ARM64"], default="X86_64")
        one.add_argument("--base", default=os.environ.get("CLICKLAB_BASE", ""), help=_BASE)
    asked = parser.parse_args(words)
    if unknown := [name for name in asked.names if name not in NAMES]:
        parser.error(f"there is no image {unknown[0]!r}; there are {', '.join(NAMES)}")
    asked.names = asked.names or list(NAMES)
    return asked


def _tags(asked: argparse.Namespace) -> dict[str, str]:
    """Return the tag of each requested image."""
    now = commit(may_be_dirty=asked.dirty)
    tags = dict.fromkeys(asked.names, asked.tag or now)
    if "service" in tags:
        tag, asked.folder = find_bento(
            asked.bento or packaged(read_env("env.yaml", ask_models=False)).tag
        )
        tags["service"] = asked.tag or image_tag(tag)
    asked.commit = now
    return tags


def _build(asked: argparse.Namespace, tags: Mapping[str, str]) -> None:
    engine = find_engine()
    for name, tag in tags.items():
        arguments = {"COMMIT": asked.commit}
        arguments |= {"BASE": asked.base} if asked.base else {}
        arguments |= {"BENTO": tag, "CPU": _CPUS[asked.architecture]} if name == "service" else {}
        with staged(asked.folder if name == "service" else None) as context:
            dockerfile = f"infra/images/{name}.Dockerfile"
            engine.build(context, dockerfile, _local(name, tag), arguments, asked.architecture)
        sys.stdout.write(f"built {_local(name, tag)}\n")


def _local(name: str, tag: str) -> str:
    return f"clicklab-{name}:{tag}"


def _push(tags: Mapping[str, str]) -> None:
    values = outputs()
    need(values, *(f"{name}_repository" for name in tags))
    check_account(values)
    engine = find_engine()
    _check_architecture(engine, tags, str(values.get("architecture", "X86_64")))
    _login(engine)
    for name, tag in tags.items():
        repository = str(values[f"{name}_repository"])
        if is_pushed(repository, tag):
            sys.stdout.write(f"{repository}:{tag} has been pushed before\n")
        else:
            engine.rename(_local(name, tag), f"{repository}:{tag}")
            engine.push(f"{repository}:{tag}")
            sys.stdout.write(f"pushed {repository}:{tag}\n")
        record_pushed(name, tag)
    sys.stdout.write(f"{PUSHED} names them; `make deploy` uses them\n")


def _check_architecture(engine: Engine, tags: Mapping[str, str], wanted: str) -> None:
    """Refuse an image whose tasks would end at once with `exec format error`; an unreadable one is left to the push."""
    for name, tag in tags.items():
        found = architecture_of(engine, _local(name, tag))
        if found not in (wanted, "unknown"):
            raise ConfigError(
                f"{_local(name, tag)} is built for {found}, the deployment runs {wanted}: "
                f"python -m infra.images build --architecture {wanted}"
            )


def _login(engine: Engine) -> None:
    with readable_aws_errors():
        given: Mapping[str, Any] = client("ecr").get_authorization_token()["authorizationData"][0]
    user, _, password = base64.b64decode(given["authorizationToken"]).decode().partition(":")
    engine.login(str(given["proxyEndpoint"]).removeprefix("https://"), user, password)


if __name__ == "__main__":
    sys.exit(main())
