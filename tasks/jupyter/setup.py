"""What ``make setup`` configures after the packages: Jupyter in the environment, and notebooks in git.

Everything lies in the environment or in the clone's own git configuration; a user's Jupyter and git settings
elsewhere are left alone, and win.
"""

import json
import sys
from pathlib import Path
from typing import Any

from tasks.jupyter.notebook_git import configure_git
from tasks.storage.files import write_atomic
from tasks.storage.workspace import project_root

FILES: dict[str, dict[str, Any]] = {
    "etc/jupyter/jupyter_server_config.json": {
        "ServerApp": {
            "contents_manager_class": "tasks.jupyter.contents_manager.ContentsManager",
            # a button of the first sends notebooks to Ploomber's servers, the second starts with a banner
            "jpserver_extensions": {"ploomber_extension": False, "nbclassic": False},
        },
        "LabApp": {"extension_manager": "readonly"},  # what it installed would not be in the lock
    },
    "etc/jupyter/labconfig/page_config.json": {"disabledExtensions": {"ploomber-extension": True}},
    "share/jupyter/lab/settings/overrides.json": {
        "@jupyterlab/apputils-extension:notification": {
            "fetchNews": "false",
            "checkForUpdates": False,
        }
    },
    "etc/ipython/ipython_kernel_config.json": {
        "InteractiveShellApp": {"extensions": ["tasks.jupyter.pip_advice"]}
    },
}
_PIP = "#!{python}\nfrom tasks.jupyter.pip_advice import main\n\nmain()\n"


def configure_jupyter(prefix: str | Path) -> None:
    """Write the settings of JupyterLab and its kernels into an environment, and a ``pip`` that gives advice."""
    for name, content in FILES.items():
        write_atomic(Path(prefix) / name, json.dumps(content, indent=2) + "\n")
    pip = Path(prefix) / "bin" / "pip"
    if not pip.exists():
        write_atomic(pip, _PIP.format(python=Path(prefix) / "bin" / "python"))
        pip.chmod(0o755)


def main() -> None:
    """Configure this environment and this clone."""
    configure_jupyter(sys.prefix)
    configure_git(project_root())


if __name__ == "__main__":
    main()
