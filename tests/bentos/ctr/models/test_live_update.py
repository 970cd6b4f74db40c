"""The watch over models and experiment: what is new and right is swapped in, all else changes nothing."""

import gc
import json
import logging
import os
import shutil
import threading
import time
import weakref

import pytest

from bentos.ctr.exposures import ExposureSettings
from bentos.ctr.models import admission, live_update, managed_model
from bentos.ctr.models.live_update import EXPERIMENT, Watcher
from bentos.ctr.scoring.calls import Calls, RequestOptions
from bentos.ctr.scoring.request_reader import Refusal
from bentos.ctr.settings import Limits, Settings
from tasks.errors import ConfigError
from tasks.models.artifact import load_model
from tasks.registry import mlflow_store, runs
from tasks.registry.publish import MAX_POINTER_BYTES, publish_model, roll_back
from tasks.schema import Schema, load_schema
from tests.bentos.ctr.artifacts import SPOILT, artifact, fm_artifact, put, version_of
from tests.conftest import free_port
from tests.logs import local_s3
from tests.stores import mlflow_client, mlflow_server, s3_server


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Model folders by name. Do not write to them."""
    home = tmp_path_factory.mktemp("models")
    foreign = load_schema("avazu").to_dict() | {"name": "shop"}
    return {
        "one": artifact(home / "one", seed=1),
        "two": artifact(home / "two", seed=2),
        "wide": artifact(home / "wide", seed=3, bits=12),
        "fm": fm_artifact(home / "fm"),
        "foreign": artifact(home / "foreign", schema=Schema.from_dict(foreign)),
    }


@pytest.fixture(autouse=True)
def _no_bundle(monkeypatch, tmp_path):
    """There is no bundle unless a test makes one; nor a tracking server."""
    monkeypatch.setenv("CLICKLAB_MODEL_DIR", str(tmp_path / "bundle"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


class Counted:
    """Telemetry that records its calls."""

    def __init__(self):
        self.swaps, self.refusals, self.unreachable = [], [], []

    def swapped(self, name, version):
        self.swaps.append((name, version))

    def model_refused(self, name, kind):
        self.refusals.append((name, kind))

    def source_unreachable(self, name):
        self.unreachable.append(name)


class Service:
    """A watcher and the calls that it fills, without server or thread."""

    def __init__(self, folder, *, experiment=None, **sources):
        self.folder, self.path = folder / "champion", folder / "experiment.yaml"
        sources = sources or {"champion": {"from": "folder", "path": str(self.folder)}}
        self.declare(experiment or one_arm())
        self.settings = Settings(
            sources, 0.02, self.path, ExposureSettings.from_mapping({}), Limits(), None
        )
        self.calls, self.told, self.on_swap = Calls(), Counted(), []
        self.watcher = Watcher(
            self.calls,
            self.settings,
            telemetry=self.told,
            on_swap=lambda old, new: self.on_swap.append((old, new)),
        )

    def declare(self, experiment):
        self.path.write_text(json.dumps(experiment))

    def poll(self):
        self.watcher.poll()
        return self

    def ask(self, variant=None, **row):
        return json.loads(
            self.calls.predict(
                json.dumps({"C14": None} | row).encode(), RequestOptions(None, variant), 0.0
            )
        )

    @property
    def version(self):
        return self.ask()["version"]


def one_arm(**more):
    arm = {"name": "champion", "weight": 1, "model": "champion"}
    return {"name": "e", "salt": "s", "unit": [], "variants": [arm]} | more


def two_arms(weight=1, **more):
    arms = [
        {"name": "champion", "weight": 1, "model": "champion"},
        {"name": "challenger", "weight": weight, "model": "challenger"},
    ]
    return one_arm(variants=arms, unit=["device_ip"], **more)


@pytest.fixture
def service(models, tmp_path):
    """A service that follows a folder, in which the model `one` lies."""
    put(models["one"], tmp_path / "champion")
    service = Service(tmp_path).poll()
    assert service.version == version_of(models["one"])
    return service


# ---- another model


@pytest.mark.parametrize("name", ["two", "wide", "fm"])
def test_another_model_is_swapped_in(service, models, name):
    """Another training, another number of bits, another kind of model; it is counted and reported once."""
    before = service.calls.state
    put(models[name], service.folder)
    service.poll()
    row = {"C14": "15706", "hour": "14102113"}
    assert service.version == version_of(models[name])
    assert service.ask(**row)["prediction"] == load_model(models[name]).predict_row(row)
    service.poll()
    assert service.told.swaps == [("champion", version_of(models[name]))]
    assert service.told.refusals == service.told.unreachable == []
    assert service.on_swap[1:] == [(before.champion, service.calls.state.champion)]


def test_what_began_with_the_old_state_ends_with_it(service, models):
    """A swap replaces the state; it does not reach into it."""
    before = service.calls.state
    put(models["two"], service.folder)
    service.poll()
    assert service.calls.state is not before
    assert before.champion.version == version_of(models["one"])
    assert before.champion.scorer.score({}) == load_model(models["one"]).predict_row({})


def test_as_long_as_nothing_changes_nothing_is_loaded(service):
    state = service.calls.state
    for _ in range(3):
        service.poll()
    assert service.calls.state is state


def test_the_same_model_put_there_again_goes_on_with_what_it_remembers(service, models):
    """Another time of the files, the same content."""
    state = service.calls.state
    put(models["one"], service.folder)
    assert service.poll().calls.state is state
    assert service.told.swaps == []


# ---- artifacts that must not serve


@pytest.mark.parametrize("spoilt", SPOILT)
def test_a_spoilt_model_leaves_the_old_one_serving(service, models, tmp_path, caplog, spoilt):
    """It is counted and logged once, shown as a problem, and the next good one is taken."""
    spoil, kind, _ = SPOILT[spoilt]
    shutil.copytree(models["two"], tmp_path / "spoilt")
    spoil(tmp_path / "spoilt")
    put(tmp_path / "spoilt", service.folder)
    state = service.calls.state
    with caplog.at_level(logging.ERROR, "clicklab.service"):
        for _ in range(3):
            service.poll()
    assert service.calls.state is state
    assert [told[1] in kind.split("|") for told in service.told.refusals] == [True]
    said = [record.getMessage() for record in caplog.records if "refused" in record.getMessage()]
    assert len(said) == 1
    assert f"{version_of(models['one'])} keeps serving" in said[0]
    assert service.watcher.problems()["champion"]["problem"].startswith("refused (")
    put(models["two"], service.folder)
    service.poll()
    assert service.version == version_of(models["two"])
    assert service.watcher.problems() == {}


def test_a_model_of_another_log_leaves_the_old_one_serving(service, models):
    put(models["foreign"], service.folder)
    service.poll()
    assert service.version == version_of(models["one"])
    assert service.told.refusals == [("champion", "schema")]


def test_going_back_to_what_serves_ends_the_problem(service, models, tmp_path):
    """The operator points back after the refusal."""
    pointer = str(tmp_path / "models" / "champion.json")
    publish_model(models["one"], pointer)
    service = Service(tmp_path, champion={"from": "folder", "path": pointer}).poll()
    publish_model(models["foreign"], pointer)
    assert "refused" in service.poll().watcher.problems()["champion"]["problem"]
    roll_back(pointer)
    assert service.poll().watcher.problems() == {}
    assert service.told.swaps == []


@pytest.mark.parametrize("spoilt", ["weights cut", "one golden row off"])
def test_what_was_refused_is_tried_again_after_a_while_in_silence(
    service, models, monkeypatch, spoilt
):
    """The fault may have been this machine's; but it is not logged every ten seconds."""
    put(models["two"], service.folder)
    SPOILT[spoilt][0](service.folder)
    monkeypatch.setattr(managed_model, "RETRY_S", 0.0)
    tries = []
    fetch = service.watcher._primary.source.fetch
    monkeypatch.setattr(
        service.watcher._primary.source, "fetch", lambda into: tries.append(into) or fetch(into)
    )
    for _ in range(3):
        service.poll()
    assert len(tries) == 3
    assert len(service.told.refusals) == 1


def test_a_folder_that_changes_while_it_is_copied_is_not_refused(service, models, monkeypatch):
    """A mixture of old and new files: the next poll gets the complete new ones."""
    source = service.watcher._primary.source
    fetch = source.fetch

    def fetch_half(into):
        found = fetch(into)
        (found / "weights.npy").write_bytes(b"half")
        put(models["wide"], service.folder)
        return found

    put(models["two"], service.folder)
    monkeypatch.setattr(source, "fetch", fetch_half)
    service.poll()
    monkeypatch.undo()
    assert service.told.refusals == []
    assert service.poll().version == version_of(models["wide"])


# ---- stores that go away


def test_a_source_out_of_reach_is_counted_and_the_model_goes_stale(service, models, caplog):
    """Each look is counted, the log has one line; health says since when."""
    shutil.move(service.folder, service.folder.with_name("away"))
    with caplog.at_level(logging.INFO, "clicklab.service"):
        for _ in range(3):
            service.poll()
    assert service.version == version_of(models["one"])
    assert service.told.unreachable == ["champion"] * 3
    assert sum("unreachable" in record.getMessage() for record in caplog.records) == 1
    (problem,) = service.watcher.problems().values()
    assert problem["problem"].startswith("unreachable: ")
    assert problem["stale_since"].startswith("20")
    shutil.move(service.folder.with_name("away"), service.folder)
    service.poll()
    assert service.watcher.problems() == {}


def test_a_refusal_is_not_forgotten_while_the_source_is_away(service, models):
    put(models["foreign"], service.folder)
    service.poll()
    shutil.move(service.folder, service.folder.with_name("away"))
    service.poll()
    shutil.move(service.folder.with_name("away"), service.folder)
    assert "refused" in service.poll().watcher.problems()["champion"]["problem"]
    assert len(service.told.refusals) == 1


def test_whatever_a_source_raises_the_others_are_looked_at(models, tmp_path, monkeypatch, caplog):
    sources = {name: {"from": "folder", "path": str(tmp_path / name)} for name in ("a", "b")}
    for name in sources:
        put(models["one"], tmp_path / name)
    arms = [{"name": "a", "weight": 1}]
    service = Service(tmp_path, experiment=one_arm(variants=arms), **sources).poll()

    def explode():
        raise ZeroDivisionError("defect")

    monkeypatch.setattr(service.watcher._models["a"].source, "peek", explode)
    put(models["two"], tmp_path / "b")
    service.poll()
    assert service.calls.state.models["b"].version == version_of(models["two"])
    assert "ZeroDivisionError: defect" in service.watcher.problems()["a"]["problem"]


# ---- the start


def test_without_any_model_it_says_why_and_tries_on(models, tmp_path):
    service = Service(tmp_path).poll()
    with pytest.raises(Refusal, match="no model serves") as caught:
        service.version
    assert caught.value.status == 503
    assert "champion: unreachable: " in service.calls.why_not_ready
    assert "no model folder" in service.calls.why_not_ready
    assert service.watcher.problems()["champion"]["stale_since"] is None
    put(models["one"], service.folder)
    assert service.poll().version == version_of(models["one"])
    assert service.told.swaps == []


def test_the_bundle_serves_until_the_source_has_something(models, tmp_path, caplog):
    put(models["one"], tmp_path / "bundle")
    with caplog.at_level(logging.WARNING, "clicklab.service"):
        service = Service(tmp_path).poll()
    assert service.version == version_of(models["one"])
    assert "serves as a fallback" in caplog.text
    assert "unreachable" in service.watcher.problems()["champion"]["problem"]
    put(models["two"], service.folder)
    assert service.poll().version == version_of(models["two"])
    assert service.told.swaps == [("champion", version_of(models["two"]))]


def test_the_bundle_serves_where_the_source_holds_something_spoilt(models, tmp_path):
    put(models["one"], tmp_path / "bundle")
    put(models["two"], tmp_path / "champion")
    (tmp_path / "champion" / "golden.json").unlink()
    service = Service(tmp_path).poll()
    assert service.version == version_of(models["one"])
    assert service.told.refusals == [("champion", "golden_missing")]


def test_a_spoilt_bundle_is_said_once(models, tmp_path, caplog):
    put(models["one"], tmp_path / "bundle")
    (tmp_path / "bundle" / "golden.json").unlink()
    service = Service(tmp_path)
    with caplog.at_level(logging.ERROR, "clicklab.service"):
        for _ in range(3):
            service.poll()
    assert caplog.text.count("the fallback folder") == 1
    assert service.calls.state is None


def test_a_source_declared_wrongly_is_named(tmp_path):
    with pytest.raises(ConfigError, match="models: 'champion': from: expected one of"):
        Service(tmp_path, champion={"from": "ftp"})


# ---- several models, and the experiment


@pytest.fixture
def trial(models, tmp_path):
    """A service with two models, half of the units each, and one of them a shadow."""
    sources = {}
    for name, model in {"champion": "one", "challenger": "two"}.items():
        put(models[model], tmp_path / name)
        sources[name] = {"from": "folder", "path": str(tmp_path / name)}
    experiment = two_arms(shadows=["challenger"])
    return Service(tmp_path, experiment=experiment, **sources).poll()


UNITS = [f"ip-{number}" for number in range(200)]


def variants_of(service):
    return [service.ask(device_ip=unit)["variant"] for unit in UNITS]


def test_each_variant_gets_its_model(trial, models):
    assert trial.ask("champion")["version"] == version_of(models["one"])
    assert trial.ask("challenger")["version"] == version_of(models["two"])
    assert [loaded.name for loaded in trial.calls.state.shadows] == ["challenger"]
    assert 60 < variants_of(trial).count("challenger") < 140


def test_weights_change_while_it_runs(trial):
    """Who moves, moves into the variant that was raised; nothing is loaded anew."""
    before, models = variants_of(trial), dict(trial.calls.state.models)
    trial.declare(two_arms(weight=9))
    after = variants_of(trial.poll())
    assert after.count("challenger") > before.count("challenger")
    moved = [new for old, new in zip(before, after, strict=True) if old != new]
    assert set(moved) == {"challenger"}
    assert dict(trial.calls.state.models) == models
    assert trial.told.swaps == []


def test_an_experiment_that_cannot_be_read_changes_nothing(trial, caplog):
    """It is counted and said once, and the next good one is taken."""
    before = variants_of(trial)
    with caplog.at_level(logging.ERROR, "clicklab.service"):
        trial.path.write_text("variants: [")
        for _ in range(3):
            trial.poll()
    assert variants_of(trial) == before
    assert trial.told.refusals == [(EXPERIMENT, "config")]
    assert caplog.text.count("experiment refused") == 1
    assert "cannot be read" in trial.watcher.problems()[EXPERIMENT]["problem"]
    trial.declare(two_arms(weight=0))
    assert set(variants_of(trial.poll())) == {"champion"}
    assert trial.watcher.problems() == {}


@pytest.mark.parametrize("what", ["pipe", "large"])
def test_an_experiment_that_would_not_end_changes_nothing(trial, what):
    """A pipe, whose reading may wait for ever, or a file of any size; it is looked at again."""
    before, content = variants_of(trial), trial.path.read_bytes()
    trial.path.unlink()
    if what == "pipe":
        os.mkfifo(trial.path)
    else:
        with trial.path.open("wb") as file:
            file.truncate(live_update._MAX_EXPERIMENT_BYTES + 1)
    assert variants_of(trial.poll()) == before
    expected = "no regular file" if what == "pipe" else "at most 1048576 are read"
    assert expected in trial.watcher.problems()[EXPERIMENT]["problem"]
    trial.path.unlink()
    trial.path.write_bytes(content)
    assert variants_of(trial.poll()) == before
    assert trial.watcher.problems() == {}


def test_an_experiment_that_is_gone_changes_nothing(trial):
    before = variants_of(trial)
    trial.path.unlink()
    assert variants_of(trial.poll()) == before
    assert "No such file" in trial.watcher.problems()[EXPERIMENT]["problem"]


def test_a_variant_whose_model_is_not_there_leaves_its_units_to_the_champion(models, tmp_path):
    """And gets them back with its model; no other unit moves."""
    put(models["one"], tmp_path / "champion")
    sources = {name: {"from": "folder", "path": str(tmp_path / name)} for name in ("champion", "challenger")}  # fmt: skip
    service = Service(tmp_path, experiment=two_arms(), **sources).poll()
    assert set(variants_of(service)) == {"champion"}
    assert "unreachable" in service.watcher.problems()["challenger"]["problem"]
    put(models["two"], tmp_path / "challenger")
    assert 60 < variants_of(service.poll()).count("challenger") < 140


def test_a_challenger_of_other_requests_is_refused(trial, models, tmp_path):
    put(models["foreign"], tmp_path / "challenger")
    trial.poll()
    assert trial.told.refusals == [("challenger", "schema")]
    assert trial.ask("challenger")["version"] == version_of(models["two"])


def test_an_experiment_none_of_whose_models_is_there_is_not_ready(models, tmp_path):
    put(models["one"], tmp_path / "champion")
    sources = {name: {"from": "folder", "path": str(tmp_path / name)} for name in ("champion", "challenger")}  # fmt: skip
    arms = [{"name": "challenger", "weight": 1}]
    service = Service(tmp_path, experiment=one_arm(variants=arms), **sources).poll()
    with pytest.raises(Refusal, match="no model serves"):
        service.version
    assert "no variant can answer" in service.calls.why_not_ready


# ---- what is left of a model that was replaced


@pytest.fixture
def loads(monkeypatch):
    """Weak references to every model that is loaded; no cyclic garbage is collected meanwhile."""
    loads = []

    def load(folder):
        model = load_model(folder)
        loads.append(weakref.ref(model))
        return model

    monkeypatch.setattr(admission, "load_model", load)
    monkeypatch.setattr(live_update, "_RETIRE_S", 0.0)
    gc.disable()
    yield loads
    gc.enable()


def test_only_the_model_that_serves_stays_in_memory(models, tmp_path, loads):
    """Replaced ones and refused ones are freed at once, not when the collector comes by."""
    put(models["one"], tmp_path / "champion")
    service = Service(tmp_path).poll()
    for number in range(2_000):
        service.ask(device_ip=f"ip-{number}")
    for name in ("two", "foreign", "fm", "one"):
        put(models[name], service.folder)
        service.poll()
    for spoilt in ("one golden row off", "a golden row that cannot be asked", "golden rows cut"):
        put(models["two"], service.folder)
        SPOILT[spoilt][0](service.folder)
        service.poll()
    service.on_swap.clear()
    service.poll()
    assert len(loads) == 8
    assert [ref().version for ref in loads if ref() is not None] == [version_of(models["one"])]


def test_what_a_replaced_scorer_remembers_is_forgotten_piecemeal(service, models, monkeypatch):
    """Not before its last counts were read."""
    for number in range(100):
        service.ask(device_ip=f"ip-{number}")
    caches = service.calls.state.champion.scorer._lookup.caches
    put(models["two"], service.folder)
    service.poll().poll()
    assert sum(map(len, caches)) >= 100
    monkeypatch.setattr(live_update, "_RETIRE_S", 0.0)
    service.poll()
    assert not any(caches)


# ---- the thread


def wait_for(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_the_thread_looks_until_it_is_stopped(service, models):
    before = set(threading.enumerate())
    service.watcher.start()
    put(models["two"], service.folder)
    wait_for(lambda: service.version == version_of(models["two"]))
    service.watcher.stop()
    assert not [one for one in set(threading.enumerate()) - before if one.name == "model-watcher"]
    put(models["one"], service.folder)
    time.sleep(0.1)
    assert service.version == version_of(models["two"])


def test_a_source_that_hangs_holds_up_no_other(models, tmp_path, monkeypatch):
    """It goes stale, the other is still followed, and health tells when the last round ended."""
    put(models["one"], tmp_path / "champion")
    put(models["one"], tmp_path / "challenger")
    folders = ("champion", "challenger")
    sources = {name: {"from": "folder", "path": str(tmp_path / name)} for name in folders}
    service = Service(tmp_path, experiment=two_arms(), **sources)
    assert service.watcher.last_look_utc is None
    until = threading.Event()
    hangs = service.watcher._models["challenger"].source
    monkeypatch.setattr(hangs, "_peek_s", 0.05)
    monkeypatch.setattr(hangs._source, "peek", until.wait)
    put(models["two"], tmp_path / "champion")
    for _ in range(2):
        service.poll()
    until.set()
    assert service.version == version_of(models["two"])
    assert service.told.unreachable == ["challenger"] * 2
    assert service.watcher.last_look_utc is not None


@pytest.mark.parametrize("what", ["pipe", "large"])
def test_a_pointer_that_would_not_end_is_not_read(models, tmp_path, what):
    """A pipe, or a file of any size, in the place of the pointer."""
    pointer = tmp_path / "models" / "champion.json"
    publish_model(models["one"], str(pointer))
    service = Service(tmp_path, champion={"from": "folder", "path": str(pointer)}).poll()
    pointer.unlink()
    if what == "pipe":
        os.mkfifo(pointer)
    else:
        with pointer.open("wb") as file:
            file.truncate(MAX_POINTER_BYTES + 1)
    assert service.poll().version == version_of(models["one"])
    expected = "no regular file" if what == "pipe" else "are read"
    assert expected in service.watcher.problems()["champion"]["problem"]


def test_a_defect_does_not_end_the_watch(service, models, monkeypatch, caplog):
    monkeypatch.setattr(service.watcher, "_update_state", lambda: 1 / 0)
    service.watcher.start()
    wait_for(lambda: "could not be polled" in caplog.text)
    monkeypatch.undo()
    monkeypatch.setenv("CLICKLAB_MODEL_DIR", "none")
    put(models["two"], service.folder)
    wait_for(lambda: service.version == version_of(models["two"]))
    service.watcher.stop()


def test_requests_beside_swaps_get_either_model_and_never_an_error(service, models):
    """Each answer is that of the version it names."""
    expected = {
        version_of(models[name]): load_model(models[name]).predict_row({})
        for name in ("one", "two")
    }
    service.watcher.start()
    seen, deadline = set(), time.monotonic() + 30
    for number in range(12):
        put(models["one" if number % 2 else "two"], service.folder)
        wanted = version_of(models["one" if number % 2 else "two"])
        while wanted not in seen:
            answer = service.ask()
            assert answer["prediction"] == expected[answer["version"]]
            seen.add(answer["version"])
            assert time.monotonic() < deadline
        seen.clear()
    service.watcher.stop()
    assert len(service.told.swaps) == 12


# ---- S3


def test_a_pointer_on_s3_is_followed_there_and_back(models, tmp_path, monkeypatch):
    """Publish, roll back, take the store away: over HTTP, as with the real one."""
    pointer = "s3://bucket/models/champion.json"
    with s3_server(monkeypatch) as server:
        publish_model(models["one"], pointer)
        service = Service(tmp_path, champion={"from": "s3", "pointer": pointer}).poll()
        assert service.version == version_of(models["one"])
        publish_model(models["fm"], pointer)
        assert service.poll().version == version_of(models["fm"])
        roll_back(pointer)
        assert service.poll().version == version_of(models["one"])
        server.stop()
        service.poll()
        assert service.version == version_of(models["one"])
    assert service.told.unreachable == ["champion"]
    assert [version for _, version in service.told.swaps] == [
        version_of(models["fm"]),
        version_of(models["one"]),
    ]
    assert service.told.refusals == []


@pytest.mark.parametrize("content", [b"{", b"{}", b'{"version": "1", "folder": "versions/none"}'])
def test_a_spoilt_pointer_on_s3_leaves_the_old_model_serving(
    models, tmp_path, monkeypatch, content
):
    pointer = "s3://bucket/champion.json"
    with local_s3(monkeypatch) as client:
        publish_model(models["one"], pointer)
        service = Service(tmp_path, champion={"from": "s3", "pointer": pointer}).poll()
        client.put_object(Bucket="bucket", Key="champion.json", Body=content)
        service.poll()
        assert service.version == version_of(models["one"])
        assert len(service.told.refusals + service.told.unreachable) == 1
        assert "champion" in service.watcher.problems()


# ---- MLflow


@pytest.mark.slow
def test_an_alias_is_followed_and_its_server_may_go_and_come(models, tmp_path, monkeypatch):
    """Two versions that a promotion registered; the server is killed and started again."""
    store, port = tmp_path / "store", free_port()
    with mlflow_server(store, port=port) as address:
        client = mlflow_client(address)
        first, second = (promote(client, models[name]) for name in ("one", "two"))
        mlflow_store.set_alias(client, NAME, "champion", first)
        source = {"from": "mlflow", "tracking_uri": address, "name": NAME}
        service = Service(tmp_path, champion=source).poll()
        assert service.version == version_of(models["one"])
        mlflow_store.set_alias(client, NAME, "champion", second)
        assert service.poll().version == version_of(models["two"])
        mlflow_store.set_alias(client, NAME, "champion", first)
        assert service.poll().version == version_of(models["one"])
        third = promote(client, models["fm"], golden=False)
        mlflow_store.set_alias(client, NAME, "champion", third)
        service.poll()
        assert service.version == version_of(models["one"])
        assert service.told.refusals == [("champion", "golden_missing")]
        mlflow_store.set_alias(client, NAME, "champion", None)
        service.poll()
        assert "alias champion not found" in service.watcher.problems()["champion"]["problem"]
    service.poll()
    assert service.version == version_of(models["one"])
    assert "cannot be reached" in service.watcher.problems()["champion"]["problem"]
    assert service.told.unreachable == ["champion"] * 2
    with mlflow_server(store, port=port):
        mlflow_store.set_alias(client, NAME, "champion", second)
        assert service.poll().version == version_of(models["two"])
        assert service.watcher.problems() == {}


NAME = "ctr-avazu"


def promote(client, folder, *, golden=True):
    """Register a model as `promote` does, with its golden rows by default."""
    with runs.training_run(client, "ctr", folder.name) as run_id:
        for file in folder.iterdir():
            if file.name != "golden.json":
                client.log_artifact(run_id, str(file), "model")
    if golden:
        text = (folder / "golden.json").read_text()
        mlflow_store.add_to_model(client, run_id, "golden.json", text)
        mlflow_store.add_to_model(client, run_id, "golden.json", "the first ones stay")
    return mlflow_store.register(client, NAME, run_id, tags={})
