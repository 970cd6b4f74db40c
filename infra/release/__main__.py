"""Deploy, release, roll back, destroy: ``python -m infra.release VERB``.

Verbs: deploy, plan, outputs, canary, release, abort, status, down.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console

from infra.aws import check_account, outputs, run_verb
from infra.images.pushed import keep_released
from infra.release.canary import Rollout, Timing
from infra.release.deploy import deploy, fetch_outputs, show_plan
from infra.release.revisions import choose, image_of
from infra.release.teardown import take_down
from infra.release.traffic_weights import read_colors

_MAX_SHARE = 50  # percent; with more, the canary would be the live color

Say = Callable[[str], None]
Values = Mapping[str, Any]


def main(words: Sequence[str] | None = None) -> int:
    """Run one verb; a known error is one line and its exit code."""
    asked = _parse(words)
    console = Console(soft_wrap=True)

    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False)

    def verb() -> None:
        if asked.verb in _DEPLOYMENT_VERBS:
            _DEPLOYMENT_VERBS[asked.verb](asked, say)
            return
        values = outputs()
        check_account(values)
        _VERBS[asked.verb](asked, values, say)

    line = "interrupted; the same command resumes, `make abort` rolls back"
    return run_verb(verb, interrupted=line)


def _parse(words: Sequence[str] | None) -> argparse.Namespace:
    about = str(__doc__).partition(":")[0]
    parser = argparse.ArgumentParser(prog="python -m infra.release", description=about)
    verbs = parser.add_subparsers(dest="verb", required=True)
    deployed = verbs.add_parser("deploy", help="create or change a deployment")
    planned = verbs.add_parser("plan", help="show what deploy would change")
    written = verbs.add_parser(
        "outputs", help="save a deployment's outputs and print its addresses"
    )
    for verb in (deployed, planned, written):
        verb.add_argument(
            "--env", default="small", help="small, production, or a .tfvars.json file"
        )
    deployed.add_argument("--yes", action="store_true", help="apply without asking")
    deployed.add_argument("--only", choices=["images"], help="only bucket and repositories")
    canary = verbs.add_parser("canary", help="give a new revision a share of the traffic")
    canary.add_argument("--share", type=_share, default=10, help="percent")
    released = verbs.add_parser("release", help="give the canary, or a new revision, all traffic")
    for verb in (canary, released):
        verb.add_argument("--image", default="", help="a commit's id or a Bento's tag")
        verb.add_argument("--watch", type=float, default=10.0, help="minutes to watch the alarms")
    aborted = verbs.add_parser("abort", help="give all traffic back to the previous revision")
    for verb in (canary, released, aborted):
        verb.add_argument(
            "--wait", type=float, default=10.0, help="minutes until tasks must be healthy"
        )
        verb.add_argument("--poll", type=float, default=5.0, help="seconds between polls")
    verbs.add_parser("status", help="what each color runs, and its share of the traffic")
    down = verbs.add_parser("down", help="destroy the deployment")
    down.add_argument("--yes", default="", metavar="NAME", help="the deployment's name")
    down.add_argument("--with-data", action="store_true", help="bucket and database as well")
    down.add_argument(
        "--wait", type=float, default=10.0, help="minutes to wait for AWS's own deletions"
    )
    return parser.parse_args(words)


def _share(text: str) -> int:
    if text.isdigit() and 1 <= int(text) <= _MAX_SHARE:
        return int(text)
    raise argparse.ArgumentTypeError(
        f"a canary gets 1 to {_MAX_SHARE} percent, found {text!r}; `release` gives all"
    )


def _rollout(asked: argparse.Namespace, values: Values, say: Say) -> Rollout:
    watch_s = 60 * getattr(asked, "watch", 0.0)
    return Rollout(values, say, Timing(60 * asked.wait, watch_s, asked.poll))


def _canary(asked: argparse.Namespace, values: Values, say: Say) -> None:
    rollout = _rollout(asked, values, say)
    revision = choose(values, asked.image)
    keep_released(image_of(revision))
    rollout.canary(revision, asked.share)


def _release(asked: argparse.Namespace, values: Values, say: Say) -> None:
    rollout = _rollout(asked, values, say)
    revision = choose(values, asked.image)
    keep_released(image_of(revision))
    rollout.release(revision, is_chosen=bool(asked.image))


def _abort(asked: argparse.Namespace, values: Values, say: Say) -> None:
    _rollout(asked, values, say).abort()


def _status(_: argparse.Namespace, values: Values, say: Say) -> None:
    for color in read_colors(values).values():
        say(
            f"{color.name:<6}{color.weight:>4}%   {color.healthy} of {color.desired} tasks healthy   "
            f"{image_of(color.revision)}"
        )


def _down(asked: argparse.Namespace, values: Values, say: Say) -> None:
    take_down(values, say, yes=asked.yes, with_data=asked.with_data, patience_s=60 * asked.wait)


def _deploy(asked: argparse.Namespace, say: Say) -> None:
    deploy(asked.env, say, is_sure=asked.yes, only_images=asked.only == "images")


_DEPLOYMENT_VERBS: dict[str, Callable[[argparse.Namespace, Say], None]] = {
    "deploy": _deploy,
    "plan": lambda asked, say: show_plan(asked.env, say),
    "outputs": lambda asked, say: fetch_outputs(asked.env, say),
}
_VERBS: dict[str, Callable[[argparse.Namespace, Values, Say], None]] = {
    "canary": _canary,
    "release": _release,
    "abort": _abort,
    "status": _status,
    "down": _down,
}

if __name__ == "__main__":
    sys.exit(main())
