"""The contents of an image: a Bento by tag or file, a trimmed environment, layers that stay cached."""

import json
import re
import subprocess
import sys

import pytest
from packaging.requirements import Requirement

from infra.images import context, trim
from tasks.errors import InputError
from tasks.package import build_bento, staged
from tasks.schema import load_schema
from tasks.serving.requirements import serving_requirements
from tests.bentos.ctr.serving import golden_rows, trained_model
from tests.conftest import ROOT

FILES = sorted((ROOT / "infra" / "images").glob("*.Dockerfile"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_another_commit_changes_no_large_layer(path):
    """Its id is an argument after every COPY, written to a file before the label: see the Dockerfile."""
    before, _, after = path.read_text().partition("\nARG COMMIT=")
    words = [line.split()[0] for line in after.splitlines() if re.match(r"[A-Z]+ ", line)]
    assert "${COMMIT}" not in before and "COPY" not in words
    assert words.count("RUN") == 1 and words.index("RUN") < words.index("LABEL")
    assert 'RUN echo "${COMMIT}" >' in after


@pytest.fixture
def environment(tmp_path):
    """A virtual environment with a package that has tests, headers and a template."""
    packages = tmp_path / "lib" / "python3.11" / "site-packages"
    for name, text in {
        "pandas/__init__.py": "x = 1",
        "pandas/tests/test_x.py": "",
        "pandas/core/tests/data/a.csv": "",
        "pandas/core/tests.py": "",
        "pandas/_libs/fast.pyx": "cdef int x",
        "pandas/_libs/fast.so": "",
        "tests/__init__.py": "",
        "pyarrow/include/arrow/api.h": "",
        "pyarrow/libarrow.so.2500": "",
        "pyarrow/libarrow_flight.so.2500": "12345",
        "scaffold/template.py": "def {{name}}",
    }.items():
        path = packages / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return packages


def test_tests_headers_and_sources_are_removed_and_the_rest_is_compiled(environment):
    """A module named tests stays, as does a top-level package; a template that is not Python does no harm."""
    assert trim.main([str(environment.parents[2])]) == 0
    left = {path.relative_to(environment).as_posix() for path in environment.rglob("*.*")}
    assert {name for name in left if "__pycache__" not in name} == {
        "pandas/__init__.py",
        "pandas/core/tests.py",
        "pandas/_libs/fast.so",
        "tests/__init__.py",
        "pyarrow/libarrow.so.2500",
        "scaffold/template.py",
    }
    assert any(name.startswith("pandas/__pycache__/__init__.") for name in left)


def test_removed_bytes_are_counted_once(environment):
    """A header in a removed folder is not counted again."""
    (environment / "pandas/core/tests/fast.h").write_text("123")
    assert trim.trim(environment.parents[2]) == len("12345") + len("123") + len("cdef int x")


def test_lightgbm_gets_the_openmp_library_of_scikit_learns_wheel(environment):
    """Under the name that it asks for, in the folder that LD_LIBRARY_PATH names; nothing where there is none."""
    root = environment.parents[2]
    trim.link_openmp(root)
    assert not (root / "lib/libgomp.so.1").is_symlink()
    (environment / "scikit_learn.libs").mkdir()
    (environment / "scikit_learn.libs/libgomp-0a1b.so.1.0.0").write_text("openmp")
    trim.link_openmp(root)
    assert (root / "lib/libgomp.so.1").read_text() == "openmp"
    for name, place in (("service", "/app/.venv/lib"), ("pipeline", "/opt/venv/lib")):
        text = (ROOT / f"infra/images/{name}.Dockerfile").read_text()
        assert f"LD_LIBRARY_PATH={place} " in text


def test_the_build_needs_nothing_but_the_standard_library():
    """Both modules run before anything is installed."""
    for words in (["infra.images.requirements", "service"], ["infra.images.trim", "/nowhere"]):
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, '.'); sys.argv = {words}; import runpy; "
             f"runpy.run_module({words[0]!r}, run_name='__main__')"],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def bento(tmp_path_factory):
    """The tag of a Bento, and its store."""
    folder = tmp_path_factory.mktemp("bento")
    model = trained_model(folder / "model", load_schema("avazu"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENTOML_HOME", str(folder / "store"))
        with staged(folder / "model", golden_rows(model)) as files:
            return build_bento(files, name="ctr_test", labels={}), folder / "store"


@pytest.mark.slow
def test_a_bento_is_found_by_tag_and_by_file(bento, tmp_path, monkeypatch):
    """With BentoML itself; also a file that was imported before. An invalid file is an error in one line."""
    tag, store = bento
    monkeypatch.setenv("BENTOML_HOME", str(store))
    found, path = context.find_bento("ctr_test:latest")
    assert found == tag and (path / "bento.yaml").is_file()

    file = tmp_path / "it.bento"
    context.ask_bentoml("export", tag, str(file))
    assert context.find_bento(str(file))[0] == tag
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "other"))
    found, path = context.find_bento(str(file))
    assert found == tag and path.is_relative_to(tmp_path / "other")

    with pytest.raises(InputError, match=r"no Bento ctr_other:latest .*`make run` builds one"):
        context.find_bento("ctr_other:latest")
    file.write_text("no archive")
    with pytest.raises(InputError, match="no Bento"):
        context.find_bento(str(file))


@pytest.mark.slow
def test_bentomls_own_dockerfile_stays_buildable(bento):
    """It copies existing files, needs no BuildKit, and has the same user and path as the project's."""
    tag, store = bento
    folder = store / "bentos" / tag.replace(":", "/")
    text = (folder / "env/docker/Dockerfile").read_text()
    assert "--mount" not in text and "# syntax" not in text
    assert re.findall(r"^FROM (\S+)", text, re.M) == ["python:3.11-slim"]
    for sources in re.findall(r"^COPY --chown=bentoml:bentoml (.*) \S+$", text, re.M):
        assert all((folder / source).exists() for source in sources.split())
    assert (folder / "env/docker/entrypoint.sh").is_file()
    assert "ARG BENTO_USER_UID=1034" in text and "ARG BENTO_PATH=/home/bentoml/bento" in text
    assert re.search(r"^USER bentoml$", text, re.M)
    pins = (folder / "env/python/requirements.txt").read_text().splitlines()
    # BentoML adds itself again, and formats markers differently
    wanted = serving_requirements((ROOT / "requirements.lock").read_text())
    assert {str(Requirement(pin)) for pin in pins} == {str(Requirement(pin)) for pin in wanted}


def test_the_context_holds_no_keys_or_states(monkeypatch):
    """No file of this project is a key, a credential or a Terraform state."""
    monkeypatch.chdir(ROOT)
    names = context._git("ls-files", "--cached", "--others", "--exclude-standard").splitlines()
    odd = (".pem", ".key", ".tfstate", ".env", ".p12", "credentials", "id_rsa", ".netrc", ".pypirc")
    assert not [name for name in names if name.endswith(odd)]
    assert "infra/images/service.Dockerfile" in names


def test_a_bento_holds_no_settings_of_the_machine(tmp_path):
    """Only the service, the library, the model and pins, and nothing of the building environment."""
    model = trained_model(tmp_path, load_schema("avazu"))
    with staged(tmp_path, golden_rows(model)) as folder:
        tops = {path.name for path in folder.iterdir()}
        texts = [path.read_text() for path in folder.rglob("*.json")]
    assert tops == {"bentos", "tasks", "requirements.txt"}
    assert not any(str(tmp_path) in text for text in texts)
    assert all(json.loads(text) is not None for text in texts)
