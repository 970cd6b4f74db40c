"""What is refused inside the kernel of a notebook that is tried; the hook itself, not installed."""

import os

import pytest

from tasks.ideas.guard import RefusedInTrial, hook


@pytest.fixture
def check(tmp_path, monkeypatch):
    """The hook, for a product, a manifest's folder and a temporary folder; in the project."""
    monkeypatch.chdir(tmp_path)
    return hook(
        [
            str(tmp_path / "products/night.json"),
            str(tmp_path / "products/rates"),
            str(tmp_path / "temporary"),
        ]
    )


@pytest.mark.parametrize(
    ("event", "args"),
    [
        ("open", ("products/log/manifest.json", "r", os.O_RDONLY)),
        ("open", ("/etc/hostname", None, os.O_RDONLY | os.O_CLOEXEC)),
        ("open", ("products/night.json", "w", os.O_WRONLY)),
        ("open", ("products/.night.json.a1.partial", None, os.O_RDWR | os.O_CREAT)),
        ("open", ("products/rates/day=1/part.parquet", "wb", 0)),
        ("open", ("temporary/x", "w", 0)),
        ("open", (7, "w", 0)),
        ("open", ("/dev/null", "w", 0)),
        ("open", ("tasks/__pycache__/x.pyc", "wb", 0)),
        ("os.mkdir", ("products", 511, -1)),
        ("os.rename", ("products/.night.json.a1.partial", "products/night.json", -1, -1)),
        ("socket.connect", (None, ("127.0.0.1", 5000))),
        ("socket.connect", (None, "/run/some.socket")),
        ("socket.getaddrinfo", ("localhost", 80, 0, 0, 0)),
        ("import", ("os",)),
    ],
)
def test_what_a_step_does_is_let_through(check, event, args):
    """Reading anything, writing its products, talking to this machine."""
    check(event, args)


@pytest.mark.parametrize(
    ("event", "args", "words"),
    [
        ("open", ("out.csv", "w", 0), "writes out.csv, which is none of its products"),
        ("open", ("products/log/manifest.json", "a", 0), "writes products/log/manifest.json"),
        ("open", ("/home/ann/x", None, os.O_WRONLY | os.O_CREAT), "writes /home/ann/x"),
        ("open", (b"out.csv", "r+", 0), "writes out.csv"),
        ("open", ("temporary/../out.csv", "w", 0), "writes out.csv"),
        ("os.remove", ("products/log/manifest.json", -1), "writes products/log"),
        ("os.rename", ("products/night.json", "elsewhere.json", -1, -1), "writes elsewhere.json"),
        ("os.mkdir", ("elsewhere", 511, -1), "writes elsewhere"),
        ("os.truncate", ("out.csv", 0), "writes out.csv"),
        ("socket.connect", (None, ("10.0.0.1", 80)), "connects to 10.0.0.1 over the network"),
        ("socket.getaddrinfo", (b"example.com", 443, 0, 0, 0), "connects to example.com"),
    ],
)
def test_what_a_step_may_not_do_is_refused(check, event, args, words):
    """Before it happens."""
    with pytest.raises(RefusedInTrial, match=words):
        check(event, args)


def test_a_temporary_folder_can_be_removed_with_all_that_is_in_it(check, tmp_path):
    """shutil names its files relative to an open folder; a link in it is removed, not what it leads to."""
    (tmp_path / "temporary/inner").mkdir(parents=True)
    (tmp_path / "products").mkdir()
    inner = os.open(tmp_path / "temporary/inner", os.O_RDONLY)
    outer = os.open(tmp_path / "products", os.O_RDONLY)
    try:
        (tmp_path / "temporary/inner/link").symlink_to(tmp_path / "out.csv")
        for event in ("os.remove", "os.rmdir"):
            check(event, ("link", inner))
        check("os.rename", ("night.json", "x", outer, inner))
        with pytest.raises(RefusedInTrial, match=r"writes products/log\.json"):
            check("os.remove", ("log.json", outer))
        with pytest.raises(RefusedInTrial, match=r"writes products/x"):
            check("os.rename", ("x", "x", inner, outer))
    finally:
        os.close(inner)
        os.close(outer)


def test_a_link_does_not_lead_out(check, tmp_path):
    """The place counts, not its name."""
    (tmp_path / "temporary").mkdir()
    (tmp_path / "temporary/link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RefusedInTrial):
        check("open", ("temporary/link", "w", 0))
