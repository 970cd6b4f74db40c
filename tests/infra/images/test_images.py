"""Images: built from a commit by the engine that works, pinned by the lock, pushed once, recorded for Terraform."""

import json
import re
import subprocess

import pytest

from infra.images import __main__ as images
from infra.images import context, engine, pushed, registry_findings
from infra.images.requirements import locked_requirements, main, roots_of
from tasks.errors import ConfigError
from tests.conftest import ROOT
from tests.infra.cloud import ACCOUNT, REGION, account, aws, write_outputs

FILES = sorted((ROOT / "infra" / "images").glob("*.Dockerfile"))
LOCK = (ROOT / "requirements.lock").read_text()
PROJECT = (ROOT / "pyproject.toml").read_text()


def _instructions(path):
    """Return a Dockerfile's instructions, with continued lines joined and without comments."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.M).replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_dockerfile_follows_the_rules(path):
    """Two stages, a versioned base, hashes, not root, a health check, Python itself as process 1."""
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
def test_a_read_only_task_writes_to_the_images_volume(image, module):
    """Fargate initializes a mount with owner and files of the image's volume at that path; else it is root's."""
    found = _instructions(ROOT / "infra" / "images" / f"{image}.Dockerfile")
    assert [json.loads(rest) for word, rest in found if word == "VOLUME"] == [["/scratch"]]
    (environment,) = [rest for word, rest in found if word == "ENV" and "TMPDIR" in rest]
    assert "TMPDIR=/scratch/tmp" in environment
    text = (ROOT / "infra" / "terraform" / "modules" / module / "main.tf").read_text()
    assert re.search(r"readonlyRootFilesystem = (true|!var.operator_access)", text)
    assert 'sourceVolume = "scratch", containerPath = "/scratch", readOnly = false' in text


def test_a_setting_of_an_image_is_not_repeated():
    """MLflow's job workers are off in the image, and so wherever it runs."""
    places = [*FILES, *(ROOT / "infra" / "terraform").rglob("*.tf")]
    said = [path.name for path in places if "ENABLE_JOB_EXECUTION" in path.read_text()]
    assert said == ["tracking.Dockerfile"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_copied_file_exists(path):
    """Among the commit's files; the service's Bento is put beside them."""
    for word, rest in _instructions(path):
        if word == "COPY" and not rest.startswith("--from"):
            for source in rest.split()[:-1]:
                assert source.startswith("bento/") or list(ROOT.glob(source.rstrip("/"))), source


def test_the_pipelines_image_holds_what_its_tasks_import():
    """The modules of a container, with all they import of this project; the notebooks and the knobs."""
    copied = [
        path
        for word, rest in _instructions(ROOT / "infra" / "images" / "pipeline.Dockerfile")
        if word == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
        for path in [ROOT / source, *(ROOT / source).rglob("*.py")]
    ]
    for path in [*(ROOT / "infra" / "container").glob("*.py"), *(ROOT / "tasks").rglob("*.py")]:
        for module in re.findall(
            r"^\s*from ((?:bentos|infra|tasks)[\w.]*) import", path.read_text(), re.M
        ):
            found = ROOT / module.replace(".", "/")
            assert {found.with_suffix(".py"), found / "__init__.py"} & set(copied), (path, module)
    for name in ("notebooks", "bentos", "env.yaml", "env.aws.yaml", "pipeline.yaml"):
        assert ROOT / name in copied


@pytest.mark.parametrize(
    ("image", "package"),
    [("pipeline", "papermill"), ("service", "bentoml"), ("tracking", "mlflow")],
)
def test_an_image_gets_its_part_of_the_lock_with_hashes(image, package):
    """Every pin has one; nothing is included that only people or tests need."""
    text = locked_requirements(LOCK, roots_of(image, PROJECT))
    pins = re.findall(r"^([a-z0-9._-]+)(?:\[[^\]]*\])?==", text, re.M)
    assert package in pins
    assert {"pytest", "moto", "ruff", "jupyterlab"}.isdisjoint(pins)
    entries = re.split(r"^(?=[a-z0-9])", text, flags=re.M)[1:]
    assert len(entries) == len(pins)
    assert all("--hash=sha256:" in entry for entry in entries)


def test_what_the_container_imports_is_in_the_pipelines_part():
    """psutil is needed by infra, the rest by the library."""
    text = locked_requirements(LOCK, roots_of("pipeline", PROJECT))
    for name in ("psutil", "boto3", "ploomber", "papermill", "mlflow", "dask", "distributed"):
        assert re.search(rf"^{name}(\[.*\])?==", text, re.M), name


def test_the_services_image_gets_the_packages_of_its_model(tmp_path, monkeypatch, capsys):
    """What the Bento pins, of the same lock, with hashes."""
    monkeypatch.chdir(ROOT)
    (tmp_path / "pins.txt").write_text("lightgbm==4.7.0\nscikit-learn==1.9.1\n")
    assert main(["service", str(tmp_path / "pins.txt")]) == 0
    boosted = capsys.readouterr().out
    assert main(["service"]) == 0
    plain = capsys.readouterr().out
    assert re.search(r"^lightgbm==", boosted, re.M)
    assert re.search(r"^scipy==", boosted, re.M)
    assert not re.search(r"^(lightgbm|scipy)==", plain, re.M)


def test_an_unknown_image_is_refused():
    """With the known ones."""
    with pytest.raises(ConfigError, match="there are pipeline, service, tracking"):
        roots_of("other", PROJECT)


class Programs:
    """Engines that record their calls."""

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
        """Add a program that fails for one subcommand."""
        program = self.folder / name
        program.write_text(
            f'#!/bin/sh\nprintf "%s\\n" "{name} $*" >> {self.folder}/calls\n'
            f'if [ "$1" = login ]; then cat >> {self.folder}/passwords; fi\n'
            f'[ "$1" != "{fails}" ]\n'
        )
        program.chmod(0o755)

    def calls(self):
        """Return the calls, except those that check whether the program works."""
        path = self.folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if not re.search(r"^\w+ (version|info|--version)", line)]


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Three engines, none of which works."""
    monkeypatch.delenv("CLICKLAB_ENGINE", raising=False)
    monkeypatch.setattr(images, "commit", lambda *, may_be_dirty: "0123456789ab")
    return Programs(tmp_path / "bin", monkeypatch)


def test_no_engine_is_one_line(programs, capsys):
    """Docker's client without its server does not count."""
    assert images.main(["build", "pipeline"]) == 3
    error = capsys.readouterr().err
    assert "docker, podman or buildah is not installed or not running" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("name", ["docker", "podman", "buildah"])
def test_the_engine_that_works_builds(programs, name):
    """From a temporary folder, for the requested architecture, labeled with the commit."""
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
def test_kernels_are_compiled_for_the_oldest_processor(programs, monkeypatch, architecture, cpu):
    """Only the service has kernels; the base image comes from the environment."""
    programs.add("docker")
    monkeypatch.setenv("CLICKLAB_BASE", "mirror/python:3.11")
    monkeypatch.setattr(images, "find_bento", lambda name: ("ctr:1", context.Path("bentos")))
    words = ["service", "tracking", "--bento", "ctr:1", "--architecture", architecture]
    assert images.main(["build", *words]) == 0
    service, tracking = programs.calls()
    assert f"--build-arg CPU={cpu}" in service and "--build-arg BENTO=ctr-1" in service
    assert "CPU=" not in tracking
    assert all("--build-arg BASE=mirror/python:3.11" in call for call in (service, tracking))


def test_an_engine_can_be_named(programs, monkeypatch, capsys):
    """An unknown one is refused."""
    programs.add("docker")
    programs.add("buildah")
    monkeypatch.setenv("CLICKLAB_ENGINE", "buildah")
    assert engine.find_engine().name == "buildah"
    monkeypatch.setenv("CLICKLAB_ENGINE", "kaniko")
    assert images.main(["build", "pipeline"]) == 3
    assert "it must be one of docker, podman, buildah" in capsys.readouterr().err


def test_a_failing_build_is_one_line(programs, capsys):
    """The engine's output is above it."""
    programs.add("docker", fails="build")
    assert images.main(["build", "pipeline"]) == 1
    assert "`docker build` failed, see above" in capsys.readouterr().err


def test_a_dirty_tree_is_refused_unless_allowed(tmp_path, monkeypatch):
    """A commit's tag promises that commit's files."""
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


def test_files_ignored_by_git_stay_out_of_an_image(tmp_path, monkeypatch):
    """Such as keys and states; the Bento is beside the rest."""
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
    """An account with a repository, and a deployment's outputs."""
    with account():
        aws("ecr").create_repository(repositoryName="clicklab-small/pipeline")
        host = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
        values = {"pipeline_repository": f"{host}/clicklab-small/pipeline"}
        monkeypatch.setenv("CLICKLAB_OUTPUTS", str(write_outputs(tmp_path / "o.json", values)))
        monkeypatch.setattr(pushed, "PUSHED", tmp_path / "images.auto.tfvars.json")
        programs.add("docker")
        yield values["pipeline_repository"]


@pytest.mark.slow
def test_a_push_logs_in_tags_pushes_and_records(registry, programs, tmp_path):
    """The password is passed on stdin; the file for Terraform keeps the other images' tags."""
    record = tmp_path / "images.auto.tfvars.json"
    record.write_text('{"images": {"service": "ctr-1"}}')
    assert images.main(["push", "pipeline"]) == 0
    inspect, login, rename, push = programs.calls()
    assert " inspect clicklab-pipeline:0123456789ab" in inspect
    assert login.startswith("docker login --username AWS --password-stdin ")
    assert rename.endswith(f"clicklab-pipeline:0123456789ab {registry}:0123456789ab")
    assert push == f"docker push {registry}:0123456789ab"
    assert (programs.folder / "passwords").read_text() and "password-stdin" in login
    expected = {"service": "ctr-1", "pipeline": "0123456789ab"}
    assert json.loads(record.read_text()) == {"images": expected}


@pytest.mark.slow
def test_an_existing_tag_is_not_pushed_again(registry, programs, capsys):
    """Tags are immutable."""
    _put("0123456789ab")
    assert images.main(["push", "pipeline"]) == 0
    assert "has been pushed before" in capsys.readouterr().out
    assert not any("push" in call.split()[1] for call in programs.calls())


@pytest.mark.slow
def test_an_image_that_was_not_built_cannot_be_pushed(registry, programs, capsys):
    """The line says what to run."""
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
def test_a_severe_finding_of_a_scan_refuses(registry, tmp_path, capsys):
    """Exit code 6, for the given severities. The emulator finds one HIGH in every image."""
    _put("1")
    (tmp_path / "images.auto.tfvars.json").write_text('{"images": {"pipeline": "1"}}')
    assert registry_findings.main(["--wait", "0"]) == 3
    assert "the scan is not started" in capsys.readouterr().err
    aws("ecr").start_image_scan(repositoryName="clicklab-small/pipeline", imageId={"imageTag": "1"})
    assert registry_findings.main([]) == 0
    assert "pipeline:1: 1 high" in capsys.readouterr().out
    assert registry_findings.main(["--refuse", "CRITICAL,HIGH"]) == 6
    assert "pipeline: findings of severity CRITICAL,HIGH" in capsys.readouterr().err
