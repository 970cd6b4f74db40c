"""The command ``ploomber``: Ploomber's own, after the checks of ``make run`` and with its readable errors.

Ploomber reads knobs before any code of a project is called, and answers a misspelt one with a traceback. So this
program takes the place of Ploomber's on PATH. It checks knobs and notebooks, hands Ploomber the checked knobs, in
which ``--env--`` options and a file named by PLOOMBER_ENV_FILENAME are laid over ``env.yaml``, and ends known errors
as one line. ``plot`` draws with Matplotlib, because Ploomber's picture needs a script from the internet.
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from tasks.errors import ConfigError
from tasks.knobs.reading import BASE, read_env
from tasks.pipeline.build import load_failure, readable_exit, refuse_passwords
from tasks.pipeline.executor import TasksFailed, describe_failure
from tasks.pipeline.integrity import forget_unreadable
from tasks.pipeline.preflight import check_project
from tasks.storage.workspace import MARKER, project_root

_COMMANDS = ("build", "status", "task", "plot", "report", "interact", "nb")
_OPTION, _FILENAME = "--env--", "PLOOMBER_ENV_FILENAME"


def main() -> None:
    """Run a command of Ploomber's."""
    words = sys.argv[1:]
    root = project_root()
    if (
        not words
        or words[0] not in _COMMANDS
        or not _is_ours(words, root)
        or {"-h", "--help"} & {*words}
    ):
        from ploomber_cli.cli import cmd_router

        sys.exit(cmd_router())
    with readable_exit(), tempfile.TemporaryDirectory(prefix="clicklab-knobs-") as folder:
        sys.path.insert(0, str(Path.cwd()))
        rest, changes = _split(words[1:])
        env = read_env(_env_path(root), changes=changes)
        refuse_passwords(env)
        check_project(env)
        forget_unreadable(env["products"])
        knobs = Path(folder) / BASE
        knobs.write_text(yaml.safe_dump(env, sort_keys=False))
        sys.argv = [sys.argv[0], *rest]
        sys.stdout.write("Loading pipeline...\n")
        sys.stdout.flush()
        _call(words[0], knobs)


def _is_ours(words: list[str], root: Path) -> bool:
    """Return whether a command is for this project's ``pipeline.yaml`` and no other file."""
    named = {"-e", "--entry-point"} & {word.split("=")[0] for word in words}
    return (root / MARKER).is_file() and not named and not os.environ.get("ENTRY_POINT")


def _env_path(root: Path) -> Path:
    """Return the file of knobs: the one that PLOOMBER_ENV_FILENAME names, here or beside ``pipeline.yaml``."""
    name = os.environ.get(_FILENAME) or BASE
    here = Path(name)
    return here if here.is_file() and here.resolve().parent == root else root / name


def _split(words: list[str]) -> tuple[list[str], dict[str, str]]:
    """Return the words without the options for knobs, and those options: ``{"hash.bits": "16"}``."""
    rest: list[str] = []
    changes: dict[str, str] = {}
    given = iter(words)
    for word in given:
        if not word.startswith(_OPTION):
            rest.append(word)
            continue
        name, has_value, value = word.removeprefix(_OPTION).partition("=")
        found = value if has_value else next(given, None)
        if found is None:
            raise ConfigError(f"{word} needs a value, as in {word} 16")
        changes[name.replace("--", ".")] = found
    return rest, changes


def _call(command: str, knobs: Path) -> None:
    """Call Ploomber's command with these knobs; a failure is one line, and a traceback for defects."""
    from ploomber import cli
    from ploomber.cli import task as task_command
    from ploomber.util import default

    default.path_to_env_from_spec = lambda path_to_spec: str(knobs)
    task_command.task_build_exception = _raise_failure  # else only its text is left of the error
    try:
        if command == "plot":
            _plot()
        elif command == "nb":
            cli.nb.main()
        else:
            getattr(cli, command).main(catch_exception=False)
    except TasksFailed:
        raise
    except Exception as error:
        raise TasksFailed([load_failure(error)]) from error


def _plot() -> None:
    """Draw the pipeline; another ``--backend`` is Ploomber's own."""
    from ploomber import cli
    from ploomber.cli.parsers import CustomParser

    from tasks.pipeline.picture import draw

    if any(word.startswith(("-b", "--backend")) for word in sys.argv):
        cli.plot.main(catch_exception=False)
        return
    parser = CustomParser(description="Draw the pipeline", prog="ploomber plot")
    with parser:
        parser.add_argument("--output", "-o", help="the file to write", default="pipeline.png")
    dag, given = parser.load_from_entry_point_arg()
    dag.render(show_progress=False)
    draw(dag, given.output)
    sys.stdout.write(f"Plot saved at: {given.output}\n")


def _raise_failure(*, task: Any, message: str, exception: BaseException) -> None:
    """Raise what happened in a task, in place of collecting its text."""
    raise TasksFailed([describe_failure(task.name, exception)])
