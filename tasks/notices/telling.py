"""A notice made, kept and sent as the knobs say; what does not arrive is said, and never fails a run."""

import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.errors import ClicklabError
from tasks.knobs.reading import read_env
from tasks.notices.delivery import deliver
from tasks.notices.facts import (
    FOLDER,
    Told,
    learned_facts,
    read_told,
    renewed,
    served_facts,
    write_told,
)
from tasks.notices.text import Notice, day_notice, failure_notice
from tasks.storage.files import write_atomic

if TYPE_CHECKING:
    from tasks.pipeline.executor import Failure

Say = Callable[[str], Any]


def tell_day(
    knobs: Mapping[str, Any], *, seconds: float | None = None, say: Say = print
) -> list[str]:
    """Tell what the products, the ledger and monitoring hold; return what did not arrive, one line each.

    Parameters
    ----------
    knobs
        As :func:`tasks.knobs.reading.read_env` returns them.
    seconds
        How long the run took; None: as it was kept, if at all.
    say
        Gets the text, if there is no address, and a line about what was done.

    Raises
    ------
    InputError
        If the ledger or a record cannot be read.
    """
    wanted, products = knobs["notices"], Path(knobs["products"])
    last = read_told(products)
    told = renewed(last, learned_facts(products, knobs["mlflow"]["ledger"]), served_facts(products))
    told.seconds = seconds if seconds is not None else told.seconds
    notice = day_notice(told, last, cost=_cost(told.seconds, wanted["usd_per_core_hour"]))
    if not wanted["addresses"]:
        say(f"{notice.title}\n\n{notice.text}")
        say("Nothing was sent: `notices.addresses` is empty (docs/notices.md)")
        return []
    if not _is_wanted(notice, wanted):
        say("Nothing was sent: nothing that `notices` asks for has changed")
        told.delivered = last.delivered or last.learned is None
        write_told(products, told)
        return []
    problems = _send(notice, wanted, picture=_picture(products, told, notice.title), say=say)
    told.delivered = not problems
    write_told(products, told)
    return problems


def tell_failure(
    knobs: Mapping[str, Any], failures: "Sequence[Failure]", *, resume: str, say: Say = print
) -> list[str]:
    """Tell which tasks failed, where, why, and how to resume; return what did not arrive, one line each."""
    wanted = knobs["notices"]
    if not wanted["addresses"] or "failure" not in wanted["events"]:
        return []
    name = read_told(Path(knobs["products"])).name
    return _send(failure_notice(failures, name=name, resume=resume), wanted, picture=None, say=say)


def tell_after(
    failures: "Sequence[Failure]", env: Path, *, verb: str, data: str | None, seconds: float
) -> None:
    """Tell of a run that has ended, if an address is set; whatever goes wrong is a line, and no error."""
    try:
        knobs = read_env(env, data=data, ask_models=False)
    except ClicklabError:
        return  # said already by the run that it ended; nobody's address is known
    try:
        if not knobs["notices"]["addresses"]:
            return
        if failures:
            resume = resume_command(verb, env, data)
            problems = tell_failure(knobs, failures, resume=resume, say=_say)
        else:
            problems = tell_day(knobs, seconds=seconds if verb == "run" else None, say=_say)
    except Exception as error:
        reason = f"{error}" if isinstance(error, ClicklabError) else type(error).__name__
        problems = [f"notice not sent: {reason}"]
    for line in problems:
        _say(line)


def resume_command(verb: str, env: Path, data: str | None) -> str:
    """Return the command that resumes a run.

    Examples
    --------
    >>> resume_command("run", Path("env.tiny.yaml"), "my log.csv")
    "make run ENV=env.tiny.yaml DATA='my log.csv'"
    """
    ours = "" if str(env) == "env.yaml" else f" ENV={shlex.quote(str(env))}"
    return f"make {verb}{ours}" + (f" DATA={shlex.quote(data)}" if data else "")


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _is_wanted(notice: Notice, wanted: Mapping[str, Any]) -> bool:
    """Return whether an event is asked for; a quiet day is one without any other event."""
    found = notice.events & {*wanted["events"]}
    is_quiet_day = notice.events == {"day"} and wanted["quiet"]
    return bool(found) and not is_quiet_day


def _send(
    notice: Notice, wanted: Mapping[str, Any], *, picture: Path | None, say: Say
) -> list[str]:
    found = [
        deliver(name, notice.title, notice.text, timeout_s=wanted["timeout_s"], picture=picture)
        for name in wanted["addresses"]
    ]
    problems = [f"notice not sent: {one}" for one in found if one]
    n_sent = len(found) - len(problems)
    if n_sent:
        say(f"notice sent to {n_sent} of {len(found)}: {notice.title}")
    return problems


def _picture(products: Path, told: Told, title: str) -> Path | None:
    """Draw the chart and return where it is; None if there is nothing to draw."""
    from tasks.figures.notice import day, png

    before = told.learned_before.metrics if told.learned_before else {}
    losses = {
        name: (metrics["log_loss"], before.get(name, {}).get("log_loss"))
        for name, metrics in (told.learned.metrics if told.learned else {}).items()
    }
    importance = told.learned.importance if told.learned else []
    drift = told.served.drift if told.served else []
    if not (losses or drift):
        return None
    path = products / FOLDER / "day.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, png(day(losses, importance, drift, title=title)))
    return path


def _cost(seconds: float | None, usd_per_core_hour: float | None) -> str:
    """Return the line about a run's cost: its time on this machine's cores, in money if a core has a price."""
    if seconds is None:
        return ""
    n_cores = os.cpu_count() or 1
    hours = seconds * n_cores / 3600
    price = f", {hours * usd_per_core_hour:.2f} USD" if usd_per_core_hour is not None else ""
    return f"Cost: {seconds:,.0f} s on {n_cores} cores, {hours:.2f} core hours{price}"
