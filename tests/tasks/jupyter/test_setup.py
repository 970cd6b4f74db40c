"""What `make setup` configures."""

import json
import subprocess

from tasks.jupyter.setup import FILES, configure_jupyter


def test_the_settings_are_written_into_the_environment(tmp_path):
    """Twice is as good as once; a pip that is there is left alone."""
    configure_jupyter(tmp_path)
    configure_jupyter(tmp_path)
    for name, content in FILES.items():
        assert json.loads((tmp_path / name).read_text()) == content
    pip = tmp_path / "bin" / "pip"
    assert pip.read_text().startswith(f"#!{tmp_path}/bin/python\n")
    assert pip.stat().st_mode & 0o111
    pip.write_text("mine")
    configure_jupyter(tmp_path)
    assert pip.read_text() == "mine"


def test_the_settings_name_what_exists():
    """The contents manager and the extension can be imported."""
    from importlib import import_module

    server = FILES["etc/jupyter/jupyter_server_config.json"]["ServerApp"]
    module, name = server["contents_manager_class"].rsplit(".", 1)
    assert hasattr(import_module(module), name)
    (extension,) = FILES["etc/ipython/ipython_kernel_config.json"]["InteractiveShellApp"][
        "extensions"
    ]
    assert hasattr(import_module(extension), "load_ipython_extension")


def test_a_button_that_sends_notebooks_away_is_off():
    """The name is that of the extension, as JupyterLab lists it."""
    import sys

    (name,) = FILES["etc/jupyter/labconfig/page_config.json"]["disabledExtensions"]
    listed = subprocess.run(
        [sys.executable, "-m", "jupyter", "labextension", "list"], capture_output=True, text=True
    )
    assert name in listed.stdout + listed.stderr
