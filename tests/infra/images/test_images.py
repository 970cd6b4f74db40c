"""Images: built from a commit by whatever engine is here, pinned by the lock, pushed once, and noted for Terraform."""

import json
import re
import subprocess

import pytest

from infra.images import __main__ as images
from infra.images import context, engine, scan
from infra.images.requirements import locked, roots_of
from tasks.errors import ConfigError
from tests.conftest import ROOT
from tests.infra.cloud import ACCOUNT, REGION, account, aws, write_outputs

FILES = sorted((ROOT / "infra" / "images").glob("*.Dockerfile"))
LOCK = (ROOT / "requirements.lock").read_text()
PROJECT = (ROOT / "pyproject.toml").read_text()


def _instructions(path):
    """Return a Dockerfile's instructions, continued lines joined, comments left out."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.M).replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_dockerfile_keeps_the_house_rules(path):
    """Two stages, a base with a version, hashes, not root, a health check, Python itself as process 1."""
    found = _instructions(path)
    words = [word for word, _ in found]
    assert words.count("FROM") == 2
    base = next(rest for word, rest in found if word == "ARG" and rest.startswith("BASE="))
    assert re.search(r":\d+\.\d+", base) and "latest" not in base
    assert "--require-hashes" in path.read_text() and "--only-binary" in path.read_text()
    user = [rest for word, rest in found if word == "USER"][-1]
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", user)
    assert words.count("HEALTHCHECK") == 1
    assert "ENTRYPOINT" not in words and "ADD" not in words
    (command,) = [rest for word, rest in found if word == "CMD"]
    assert json.loads(command)[0] in ("python", "mlflow"), "an exec form, no shell"


@pytest.mark.parametrize(
    ("image", "module"),
    [("pipeline", "pipeline"), ("service", "serving"), ("tracking", "tracking")],
)
def test_what_a_read_only_task_writes_to_is_the_images_volume(image, module):
    """Fargate gives a mounted folder the owner and the files of a volume that the image declares there, else root's."""
    found = _instructions(ROOT / "infra" / "images" / f"{image}.Dockerfile")
    assert [json.loads(rest) for word, rest in found if word == "VOLUME"] == [["/scratch"]]
    (environment,) = [rest for word, rest in found if word == "ENV" and "TMPDIR" in rest]
    assert "TMPDIR=/scratch/tmp" in environment
    text = (ROOT / "infra" / "terraform" / "modules" / module / "main.tf").read_text()
    assert re.search(r"readonlyRootFilesystem = (true|!var.operator_access)", text)
    assert 'sourceVolume = "scratch", containerPath = "/scratch", readOnly = false' in text


def test_what_an_image_sets_for_its_server_is_not_said_again():
    """MLflow's job workers are off in the image, and so wherever it runs."""
    places = [*FILES, *(ROOT / "infra" / "terraform").rglob("*.tf")]
    said = [path.name for path in places if "ENABLE_JOB_EXECUTION" in path.read_text()]
    assert said == ["tracking.Dockerfile"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_whatever_is_copied_exists(path):
    """From the commit's files; the service's Bento is put beside them."""
    for word, rest in _instructions(path):
        if word == "COPY" and not rest.startswith("--from"):
            for source in rest.split()[:-1]:
                assert source == "bento/" or list(ROOT.glob(source.rstrip("/"))), source


def test_the_pipelines_image_holds_what_its_tasks_import():
    """The library, the notebooks, the Bento's sources, the container's own module and its knobs."""
    text = (ROOT / "infra" / "images" / "pipeline.Dockerfile").read_text()
    for name in (
        "tasks/ tasks/",
        "notebooks/",
        "bentos/",
        "infra/*.py",
        "env.aws.yaml",
        "pipeline.yaml",
    ):
        assert name in text


@pytest.mark.parametrize(
    ("image", "package"),
    [("pipeline", "papermill"), ("service", "bentoml"), ("tracking", "mlflow")],
)
def test_an_image_gets_its_part_of_the_lock_with_hashes(image, package):
    """Every pin has one; nothing is there that only people or tests need."""
    text = locked(LOCK, roots_of(image, PROJECT))
    pins = re.findall(r"^([a-z0-9._-]+)(?:\[[^\]]*\])?==", text, re.M)
    assert package in pins
    assert {"pytest", "moto", "ruff", "jupyterlab"}.isdisjoint(pins)
    entries = re.split(r"^(?=[a-z0-9])", text, flags=re.M)[1:]
    assert len(entries) == len(pins)
    assert all("--hash=sha256:" in entry for entry in entries)


def test_what_the_container_imports_is_in_the_pipelines_part():
    """psutil is infra's own; the rest is the library's."""
    text = locked(LOCK, roots_of("pipeline", PROJECT))
    for name in ("psutil", "boto3", "ploomber", "papermill", "mlflow", "dask", "distributed"):
        assert re.search(rf"^{name}(\[.*\])?==", text, re.M), name


def test_an_unknown_image_has_no_pins():
    """One line that names those there are."""
    with pytest.raises(ConfigError, match="there are pipeline, service, tracking"):
        roots_of("other", PROJECT)


class Programs:
    """Engines that note how they were called."""

    def __init__(self, folder, monkeypatch):
        self.folder = folder
        folder.mkdir()
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        monkeypatch.setattr(
            engine.shutil,
            "which",
            lambda name: str(folder / name) if (folder / name).exists() else None,
        )
        self.add("docker", fails="version")
        self.add("podman", fails="info")
        self.add("buildah", fails="--version")

    def add(self, name, fails=""):
        """Make a program that fails for one word."""
        program = self.folder / name
        program.write_text(
            f'#!/bin/sh\nprintf "%s\\n" "{name} $*" >> {self.folder}/calls\n'
            f'if [ "$1" = login ]; then cat >> {self.folder}/passwords; fi\n'
            f'[ "$1" != "{fails}" ]\n'
        )
        program.chmod(0o755)

    def calls(self):
        """Return the calls that are no question whether the program is alive."""
        path = self.folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if not re.search(r"^\w+ (version|info|--version)", line)]


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Three engines of which none works."""
    monkeypatch.delenv("CLICKLAB_ENGINE", raising=False)
    monkeypatch.setattr(images, "commit", lambda *, may_be_dirty: "0123456789ab")
    return Programs(tmp_path / "bin", monkeypatch)


def test_no_engine_is_one_line(programs, capsys):
    """Docker's client without its server is none."""
    assert images.main(["build", "pipeline"]) == 3
    error = capsys.readouterr().err
    assert "docker, podman or buildah is not here or does not answer" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("name", ["docker", "podman", "buildah"])
def test_the_engine_that_works_builds(programs, name):
    """From a folder of its own, for the architecture that was asked for, labelled with the commit."""
    programs.add(name)
    assert images.main(["build", "pipeline", "--architecture", "ARM64"]) == 0
    (call,) = programs.calls()
    assert call.startswith(f"{name} build --file infra/images/pipeline.Dockerfile")
    for words in (
        "--tag clicklab-pipeline:0123456789ab",
        "--platform linux/arm64",
        "COMMIT=0123456789ab",
    ):
        assert words in call
    assert ("--format docker" in call) == (name != "docker")


@pytest.mark.parametrize(
    ("architecture", "cpu"), [("X86_64", "x86-64-v3"), ("ARM64", "neoverse-n1")]
)
def test_kernels_are_compiled_for_what_every_host_has(programs, monkeypatch, architecture, cpu):
    """The service alone has some; a base from the environment goes with it."""
    programs.add("docker")
    monkeypatch.setenv("CLICKLAB_BASE", "mirror/python:3.11")
    monkeypatch.setattr(images, "find_bento", lambda name: ("ctr:1", context.Path("bentos")))
    assert images.main(["build", "service", "tracking", "--architecture", architecture]) == 0
    service, tracking = programs.calls()
    assert f"--build-arg CPU={cpu}" in service and "--build-arg BENTO=ctr-1" in service
    assert "CPU=" not in tracking
    assert all("--build-arg BASE=mirror/python:3.11" in call for call in (service, tracking))


def test_an_engine_can_be_named(programs, monkeypatch, capsys):
    """One that is none is refused."""
    programs.add("docker")
    programs.add("buildah")
    monkeypatch.setenv("CLICKLAB_ENGINE", "buildah")
    assert engine.find_engine().name == "buildah"
    monkeypatch.setenv("CLICKLAB_ENGINE", "kaniko")
    assert images.main(["build", "pipeline"]) == 3
    assert "it can be docker, podman, buildah" in capsys.readouterr().err


def test_a_failing_build_is_one_line(programs, capsys):
    """What the engine said stands above it."""
    programs.add("docker", fails="build")
    assert images.main(["build", "pipeline"]) == 1
    assert "`docker build` failed, see above" in capsys.readouterr().err


def test_a_dirty_tree_is_refused_unless_it_is_said(tmp_path, monkeypatch):
    """A tag of a commit promises that commit's files."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="git rev-parse failed"):
        context.commit(may_be_dirty=False)
    run = {"cwd": tmp_path, "check": True, "capture_output": True}
    subprocess.run(["git", "init", "-q"], **run)
    (tmp_path / "a").write_text("1")
    subprocess.run(["git", "add", "a"], **run)
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", *identity, "commit", "-qm", "a"], **run)
    clean = context.commit(may_be_dirty=False)
    assert re.fullmatch(r"[0-9a-f]{12}", clean)
    (tmp_path / "a").write_text("2")
    with pytest.raises(ConfigError, match="1 files differ from commit"):
        context.commit(may_be_dirty=False)
    assert context.commit(may_be_dirty=True) == f"{clean}-dirty"


def test_only_what_git_knows_or_would_gets_into_an_image(tmp_path, monkeypatch):
    """Ignored files, such as keys and states, stay out; a Bento lies beside."""
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "-q"], check=True)
    (tmp_path / ".gitignore").write_text("secret\n")
    for name in ("secret", "code.py"):
        (tmp_path / name).write_text("x")
    bento = tmp_path.parent / "a-bento"
    bento.mkdir(exist_ok=True)
    (bento / "bento.yaml").write_text("x")
    with context.staged(bento) as folder:
        found = sorted(
            str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()
        )
    assert found == [".gitignore", "bento/bento.yaml", "code.py"]


@pytest.fixture
def registry(programs, tmp_path, monkeypatch):
    """An account with a repository, and the outputs that name it."""
    with account():
        aws("ecr").create_repository(repositoryName="clicklab-small/pipeline")
        host = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
        values = {"pipeline_repository": f"{host}/clicklab-small/pipeline"}
        monkeypatch.setenv("CLICKLAB_OUTPUTS", str(write_outputs(tmp_path / "o.json", values)))
        monkeypatch.setattr(images, "FOLDER", tmp_path)
        monkeypatch.setattr(scan, "FOLDER", tmp_path)
        programs.add("docker")
        yield values["pipeline_repository"]


@pytest.mark.slow
def test_a_push_logs_in_renames_pushes_and_notes_the_tag(registry, programs, tmp_path):
    """The password goes through a pipe; what Terraform reads keeps the other images' tags."""
    note = tmp_path / "images.auto.tfvars.json"
    note.write_text('{"images": {"service": "ctr-1"}}')
    assert images.main(["push", "pipeline"]) == 0
    login, rename, push = programs.calls()
    assert login.startswith("docker login --username AWS --password-stdin ")
    assert rename.endswith(f"clicklab-pipeline:0123456789ab {registry}:0123456789ab")
    assert push == f"docker push {registry}:0123456789ab"
    assert (programs.folder / "passwords").read_text() and "password-stdin" in login
    expected = {"service": "ctr-1", "pipeline": "0123456789ab"}
    assert json.loads(note.read_text()) == {"images": expected}


@pytest.mark.slow
def test_what_is_there_already_is_not_pushed_again(registry, programs, capsys):
    """Tags are never moved."""
    _put("0123456789ab")
    assert images.main(["push", "pipeline"]) == 0
    assert "is there already" in capsys.readouterr().out
    assert not any("push" in call.split()[1] for call in programs.calls())


@pytest.mark.slow
def test_an_image_that_was_not_built_cannot_be_pushed(registry, programs, capsys):
    """One line says what to run."""
    programs.add("docker", fails="tag")
    assert images.main(["push", "pipeline"]) == 3
    assert "run `make image` first" in capsys.readouterr().err


def _put(tag):
    layer = {"schemaVersion": 2, "config": {"digest": "sha256:" + "0" * 64}}
    aws("ecr").put_image(
        repositoryName="clicklab-small/pipeline",
        imageManifest=json.dumps(layer),
        imageManifestMediaType="application/vnd.docker.distribution.manifest.v2+json",
        imageTag=tag,
    )


@pytest.mark.slow
def test_a_scan_that_finds_something_grave_refuses(registry, tmp_path, capsys):
    """Code 6; what is asked for decides what is grave. The emulator finds one HIGH in every image."""
    _put("1")
    (tmp_path / "images.auto.tfvars.json").write_text('{"images": {"pipeline": "1"}}')
    assert scan.main(["--wait", "0"]) == 3
    assert "the scan is not begun" in capsys.readouterr().err
    aws("ecr").start_image_scan(repositoryName="clicklab-small/pipeline", imageId={"imageTag": "1"})
    assert scan.main([]) == 0
    assert "pipeline:1: 1 high" in capsys.readouterr().out
    assert scan.main(["--refuse", "CRITICAL,HIGH"]) == 6
    assert "pipeline: findings of CRITICAL,HIGH" in capsys.readouterr().err
