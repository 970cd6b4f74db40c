"""The project's own Bento store: what was packaged, by its receipt, and served on an address of its own."""

import json
import os
import socket
from pathlib import Path

import pytest

from tasks.errors import ConfigError, InputError
from tasks.serving import bento_store
from tasks.serving.bento_store import bento_home, check_address, packaged, serve


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with a receipt of a Bento in its store; the caller's BENTOML_HOME is not set."""
    (tmp_path / "pipeline.yaml").touch()
    (tmp_path / "products").mkdir()
    receipt = {"bento": "ctr:abc", "model": "fm", "version": "8b9c4d7f9da6"}
    (tmp_path / "products/package.json").write_text(json.dumps(receipt))
    folder = tmp_path / ".bentos/bentos/ctr/abc"
    folder.mkdir(parents=True)
    (folder / "bento.yaml").touch()
    monkeypatch.delenv("BENTOML_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


ENV = {"products": "products"}


def test_the_store_lies_in_the_project_unless_named(project, monkeypatch):
    """Two clones do not take each other's Bentos."""
    assert bento_home() == project / ".bentos"
    monkeypatch.setenv("BENTOML_HOME", "/elsewhere")
    assert str(bento_home()) == "/elsewhere"


def test_the_receipt_names_the_bento_not_the_latest(project):
    """A newer one of the same name, of other knobs or by hand, is not taken."""
    (project / ".bentos/bentos/ctr/zzz").mkdir()
    (project / ".bentos/bentos/ctr/latest").write_text("zzz")
    found = packaged(ENV)
    assert (found.tag, found.folder) == ("ctr:abc", project / ".bentos/bentos/ctr/abc")


def test_without_bento_or_receipt_one_line_says_what_to_do(project):
    """Missing, unreadable, or no longer in the store."""
    (project / ".bentos/bentos/ctr/abc/bento.yaml").unlink()
    with pytest.raises(InputError, match=r"ctr:abc of .* is not in the store .*; delete that file"):
        packaged(ENV)
    for text in ("{", "[]", "{}"):
        (project / "products/package.json").write_text(text)
        with pytest.raises(
            InputError, match=r"no readable receipt .*; delete it and run `make run`"
        ):
            packaged(ENV)
    (project / "products/package.json").unlink()
    with pytest.raises(InputError, match="no Bento has been packaged with these knobs"):
        packaged(ENV)


def test_each_address_has_metrics_of_its_own(project, monkeypatch, capfd):
    """BentoML deletes the metrics of servers that share a home."""
    became = []
    monkeypatch.setattr(bento_store, "check_address", lambda host, port: None)
    monkeypatch.setattr(os, "execve", lambda *words: became.append(words))
    for port in (3000, 3001):
        serve(ENV, host="127.0.0.1", port=port)
    homes = [environment["BENTOML_HOME"] for _, _, environment in became]
    assert len(set(homes)) == 2
    assert all(Path(home).is_dir() for home in homes)
    assert became[0][1][5:7] == ["serve", str(project / ".bentos/bentos/ctr/abc")]
    assert "ctr:abc: fm 8b9c4d7f9da6 on http://127.0.0.1:3000" in capfd.readouterr().err


def test_an_address_that_is_taken_or_is_none_is_one_line():
    """Before a server is started."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"cannot listen on 127.0.0.1:{port} .*PORT="):
            check_address("127.0.0.1", port)
    check_address("127.0.0.1", port)
    with pytest.raises(ConfigError, match=r"cannot listen on no\.such\.host\.invalid"):
        check_address("no.such.host.invalid", port)
    for wrong in (0, -1, 65536):
        with pytest.raises(ConfigError, match=f"port {wrong} does not exist"):
            check_address("127.0.0.1", wrong)
