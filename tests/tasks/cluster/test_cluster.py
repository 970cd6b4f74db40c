"""The cluster: one machine's bytes and log loss, and a run that outlives its workers."""

import os
import sys
import time
import types
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tasks.cluster import engine, training
from tasks.cluster.averaging import average, copy_for_shard
from tasks.cluster.engine import connect
from tasks.cluster.hashing import write_features_on
from tasks.errors import ConfigError, DivergenceError, InputError, UnavailableError
from tasks.evaluation.metrics import log_loss
from tasks.hashing.contract import HashContract
from tasks.hashing.feature_set import FeatureSet
from tasks.hashing.split_features import write_split
from tasks.hashing.store import write_features
from tasks.ingest import ingest_log
from tasks.logs.log import Log
from tasks.logs.split import split_log
from tasks.models import make_learner
from tasks.models.ftrl import FTRLProximal
from tasks.models.predict import predict_stream
from tasks.schema import Schema, load_schema
from tasks.training import checkpoint
from tasks.training.fit import fit_stream
from tests.tasks.cluster.killing import kill_when
from tests.tasks.hashing.test_store import RAW, FakeLog
from tests.tasks.models.rows import learnable_rows, small_contract

N_ROWS, BATCH_ROWS, BITS = 200_000, 4096, 18
SPANS = {"train": (0, 160_000), "valid": (160_000, N_ROWS)}


# ---- averaging, in this process


@pytest.fixture
def rows():
    batch = next(
        learnable_rows(
            np.random.default_rng(4), n_rows=1200, contract=small_contract(), batch_rows=1200
        ).batches()
    )
    return batch.codes, batch.label


def trained(kind, rows, **params):
    learner = make_learner(kind, 256, random_state=0, **params)
    return learner.partial_fit_codes(*rows)


def test_a_shard_starts_from_the_same_weights(rows):
    """State and parameters change together so that an FTRL learner predicts what it did."""
    learner = trained("ftrl", rows)
    shard = copy_for_shard(learner, 3)
    np.testing.assert_allclose(shard.coef_, learner.coef_, rtol=1e-12)
    np.testing.assert_allclose(shard.intercept_, learner.intercept_, rtol=1e-12)
    assert shard.l1 == learner.l1 / 3


@pytest.mark.parametrize("kind", ["ftrl", "sgd", "fm"])
def test_shards_that_learned_nothing_average_to_the_start(rows, kind):
    """Dealing out and averaging lose nothing, parameters and shapes included."""
    start = trained(kind, rows)
    again = average(start, [(copy_for_shard(start, 4), rows) for rows in (5, 7, 9, 11)], 4)
    assert again.get_params() == start.get_params()
    np.testing.assert_allclose(
        again.decision_codes(rows[0]), start.decision_codes(rows[0]), atol=1e-7
    )


@pytest.mark.parametrize("kind", ["ftrl", "sgd", "fm"])
def test_one_shard_is_plain_training(rows, kind):
    """With one worker the averaged learner is the learner, bit for bit."""
    start = trained(kind, rows)
    plain = trained(kind, rows).partial_fit_codes(*rows)
    averaged = average(start, [(copy_for_shard(start, 1).partial_fit_codes(*rows), 1200)], 1)
    assert (averaged.decision_codes(rows[0]) == plain.decision_codes(rows[0])).all()


def test_ftrl_keeps_the_sum_of_squared_gradients(rows):
    """n after two shards is n before and what each of them added: what sets a weight's learning rate."""
    start = trained("ftrl", rows)
    halves = [(rows[0][part], rows[1][part]) for part in (slice(0, 600), slice(600, 1200))]
    shards = [copy_for_shard(start, 2).partial_fit_codes(*half) for half in halves]
    added = sum(shard.state_[:, 1] - start.state_[:, 1] / 2 for shard in shards)
    merged = average(start, [(shard, 600) for shard in shards], 2)
    np.testing.assert_allclose(merged.state_[:, 1], start.state_[:, 1] + added, rtol=1e-12)


def test_sgd_counts_the_rows_of_all_shards(rows):
    """The clock of the learning rate runs as in one process."""
    start = trained("sgd", rows)
    shards = [(copy_for_shard(start, 3).partial_fit_codes(*rows), 1200) for _ in range(3)]
    merged = average(start, shards, 3)
    assert (merged.t_, merged.eta0) == (1 + 4 * 1200, start.eta0)


class Plain:
    """A learner without a rule."""

    def __init__(self, snapshot):
        self._snapshot = snapshot

    def snapshot(self):
        return self._snapshot

    def restore(self, snapshot):
        self._snapshot = snapshot


def test_a_learner_without_a_rule_is_averaged_by_rows():
    """Three rows out of four weigh three quarters, in whatever the snapshot is made of."""
    one, other = ({"w": (np.full(2, value), value)} for value in (1.0, 5.0))
    merged = average(Plain(one), [(Plain(one), 3), (Plain(other), 1)], 2).snapshot()
    assert merged["w"][0].tolist() == [2.0, 2.0]
    assert merged["w"][1] == 2.0


def test_a_snapshot_that_cannot_be_averaged_is_named():
    """An epoch number, say, is not a weight."""
    with pytest.raises(TypeError, match="found str"):
        average(Plain("weights"), [(Plain("weights"), 1)] * 2, 2)


# ---- the knob


@pytest.mark.parametrize(
    ("knob", "message"),
    [
        ("spark", "engine must be local, dask"),
        ({"dask": {}}, "engine must be"),
        ({"dask": {"workers": 2, "address": "tcp://x:1"}}, "engine must be"),
        ({"dask": {"workers": 0}}, "workers must be an integer of at least 1, found 0"),
        ({"dask": {"workers": True}}, "workers must be an integer"),
        ({"dask": {"address": 8786}}, "address must be text"),
        ({"dask": {"fargate": {"image": "x"}}}, "with n_workers"),
    ],
)
def test_a_malformed_engine_is_a_config_error(knob, message):
    """The knob is read before anything is started."""
    with pytest.raises(ConfigError, match=message), connect(knob):
        pass


@pytest.mark.parametrize("knob", ["local", None])
def test_the_local_engine_needs_neither_dask_nor_this_package(tmp_path, monkeypatch, knob):
    """Hashing and training in one process import nothing of the optional package."""
    schema = load_schema("avazu")
    ingest_log("sim://avazu?rows=3000&seed=7", tmp_path / "log", schema=schema)
    log, contract = Log.open(tmp_path / "log"), HashContract.from_schema(schema, bits=10)
    for name in ("dask", "distributed", "tasks.cluster.engine", "tasks.cluster.training"):
        monkeypatch.setitem(sys.modules, name, None)
    features = write_split(log, split_log(log), contract, tmp_path / "features", engine=knob)
    history = fit_stream(
        make_learner("ftrl", 2**10), features["train"], features["valid"], engine=knob
    )
    assert sum(part.n_rows for part in features.values()) == log.n_rows
    assert history.epochs


def test_missing_dask_names_the_extra(monkeypatch):
    """One line says what to install."""
    monkeypatch.setitem(sys.modules, "dask.distributed", None)
    with (
        pytest.raises(ConfigError, match=r"pip install 'clicklab\[dask\]'"),
        connect({"dask": {"workers": 1}}),
    ):
        pass


@pytest.mark.parametrize("n_shards", [0, 1.5])
def test_a_number_of_shards_out_of_range_is_named(n_shards):
    """It is checked before any cluster is started."""
    rows = learnable_rows(np.random.default_rng(4), n_rows=100, contract=small_contract())
    with pytest.raises(ConfigError, match="n_shards must be an integer of at least 1"):
        fit_stream(make_learner("ftrl", 256), rows, rows, engine="dask", n_shards=n_shards)


# ---- a cluster of processes


def fit_on(client, learner, train, valid, **options):
    """Train through the `engine` knob on the cluster of the fixture; return the learner and the history."""
    engine = {"dask": {"address": client.scheduler.address}}
    return learner, fit_stream(learner, train, valid, engine=engine, **options)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A simulated log and its feature sets, hashed in one process."""
    folder = tmp_path_factory.mktemp("store")
    schema = load_schema("avazu")
    ingest_log(f"sim://avazu?rows={N_ROWS}&seed=7", folder / "log", schema=schema)
    log, contract = Log.open(folder / "log"), HashContract.from_schema(schema, bits=BITS)
    for name, span in SPANS.items():
        write_features(log, span, contract, folder / name, BATCH_ROWS)
    features = {name: FeatureSet(folder / name) for name in SPANS}
    return types.SimpleNamespace(log=log, contract=contract, folder=folder, **features)


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


@pytest.mark.slow
def test_the_scheduler_listens_on_this_machine_only(client):
    """Anyone who reaches a scheduler can run code, so nobody else on the network may."""
    assert client.scheduler.address.startswith("tcp://127.0.0.1:")
    assert all(address.startswith("tcp://127.0.0.1:") for address in client.nthreads())


@pytest.mark.slow
def test_features_have_the_bytes_that_one_process_writes(client, store, tmp_path):
    """Every file, the manifest included; a second time everything is already there."""
    seen = []
    arguments = client, store.log, SPANS["train"], store.contract, tmp_path, BATCH_ROWS
    written = write_features_on(*arguments, progress=lambda *n: seen.append(n))
    assert bytes_of(tmp_path) == bytes_of(store.folder / "train")
    assert (written.n_rows, written.n_parts, written.n_skipped) == (160_000, 40, 0)
    assert seen[-1] == (160_000, 160_000)
    assert write_features_on(*arguments).n_skipped == 40


@pytest.mark.slow
def test_hashing_resumes_where_one_process_was_killed(client, store, tmp_path):
    """Finished parts are kept, on whatever machine they were written."""

    def stop(n_done, n_rows):
        if n_done > 50_000:
            raise KeyboardInterrupt

    arguments = store.log, SPANS["train"], store.contract, tmp_path, BATCH_ROWS
    with pytest.raises(KeyboardInterrupt):
        write_features(*arguments, progress=stop)
    assert write_features_on(client, *arguments).n_skipped == 13
    assert bytes_of(tmp_path) == bytes_of(store.folder / "train")


@pytest.mark.slow
def test_workers_that_see_another_log_are_refused(client, store, tmp_path):
    """The worker's message comes back, and the set stays incomplete."""
    log = Log(store.folder / "log", {**store.log.manifest, "digest": "another"})
    with pytest.raises(InputError, match="a worker sees another log"):
        write_features_on(client, log, SPANS["train"], store.contract, tmp_path, BATCH_ROWS)
    assert not (tmp_path / "manifest.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "n_shards"), [("ftrl", 2), ("ftrl", 4), ("sgd", 2), ("fm", 2)])
def test_log_loss_is_that_of_one_process(client, store, kind, n_shards):
    """Within 0.5%, early stopping and all, and the learner is left at the round that it says."""
    single = make_learner(kind, 2**BITS, random_state=7)
    expected = fit_stream(single, store.train, store.valid, max_epochs=8).best_log_loss
    learner, history = fit_on(
        client,
        make_learner(kind, 2**BITS, random_state=7),
        store.train,
        store.valid,
        n_shards=n_shards,
        max_epochs=8,
    )
    assert history.best_log_loss == pytest.approx(expected, rel=0.005)
    left = log_loss(*predict_stream(learner, store.valid))
    assert left == pytest.approx(history.best_log_loss, abs=1e-12)


@pytest.mark.slow
def test_left_out_rows_are_those_of_one_process(client, store):
    """Down-sampled negatives, corrected back: with one shard the bits are the same."""
    options = {"max_epochs": 1, "negative_rate": 0.3, "seed": 1}
    single = make_learner("ftrl", 2**BITS)
    expected = fit_stream(single, store.train, store.valid, **options)
    learner, history = fit_on(
        client, make_learner("ftrl", 2**BITS), store.train, store.valid, n_shards=1, **options
    )
    assert (learner.state_ == single.state_).all()
    assert history.best_log_loss == expected.best_log_loss
    assert history.epochs[0].train_log_loss == pytest.approx(expected.epochs[0].train_log_loss)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ftrl", "sgd"])
def test_a_killed_client_resumes_from_its_last_round(client, store, tmp_path, monkeypatch, kind):
    """The next client learns the rounds that are left, to the bits of an undisturbed run."""
    monkeypatch.setattr(checkpoint, "EVERY_S", 0)
    monkeypatch.setattr(checkpoint, "MAX_SHARE", 1e9)

    def train(progress=None, path=None):
        learner = make_learner(kind, 2**BITS, random_state=7)
        options = {"n_shards": 2, "max_epochs": 4, "progress": progress, "checkpoint": path}
        return fit_on(client, learner, store.train, store.valid, **options)

    def stop(epoch, n_done, n_rows):
        rounds.append(epoch)
        if epoch == 3:
            raise KeyboardInterrupt

    rounds = []
    with pytest.raises(KeyboardInterrupt):
        train(stop, tmp_path / "c.npz")
    assert rounds == [1, 2, 3]
    learner, history = train(lambda *where: rounds.append(where[0]), tmp_path / "c.npz")
    assert rounds == [1, 2, 3, 4]
    whole, expected = train()
    assert [e.valid_log_loss for e in history.epochs] == [e.valid_log_loss for e in expected.epochs]
    one, other = checkpoint.learned_state(learner), checkpoint.learned_state(whole)
    assert set(one) == set(other)
    assert all(np.array_equal(one[name], other[name]) for name in one)


class Diverging(FTRLProximal):
    """Leaves the finite numbers at once."""

    def partial_fit_codes(self, codes, y, sample_weight=None):
        super().partial_fit_codes(codes, y, sample_weight)
        self.loss_ = float("nan")
        return self


@pytest.mark.slow
def test_divergence_and_lost_files_are_known_errors(client, store, tmp_path):
    """What a worker meets comes back as the error that one process would have raised."""
    wild = Diverging(n_features=2**BITS)
    with pytest.raises(DivergenceError, match="lower the learning rate"):
        fit_on(client, wild, store.train, store.valid)
    write_features(store.log, (0, 9000), store.contract, tmp_path, BATCH_ROWS)
    features = FeatureSet(tmp_path)
    (tmp_path / "part-000001.arrow").unlink()
    with pytest.raises(InputError, match=r"part-000001\.arrow: a worker does not find"):
        fit_on(client, make_learner("ftrl", 2**BITS), features, store.valid)


@pytest.mark.slow
def test_a_cluster_that_runs_is_joined_and_left_running(client):
    """`address` connects, and closes only its own connection."""
    with connect({"dask": {"address": client.scheduler.address}}) as other:
        assert other.submit(sum, [1, 2]).result(timeout=30) == 3
    assert client.submit(sum, [3, 4]).result(timeout=30) == 7


@pytest.mark.slow
def test_nobody_at_the_address_is_an_outage(client, monkeypatch):
    """One line, after a bounded wait."""
    monkeypatch.setattr(engine, "_CONNECT_S", 1)
    with (
        pytest.raises(UnavailableError, match="does not answer"),
        connect({"dask": {"address": "tcp://127.0.0.1:9"}}),
    ):
        pass


@pytest.mark.slow
def test_fargate_gets_its_options(client, monkeypatch):
    """Its package is asked for by name where it is missing; options go through as they are."""
    from distributed import LocalCluster

    monkeypatch.setitem(sys.modules, "dask_cloudprovider", None)
    knob = {
        "dask": {
            "fargate": {"n_workers": 1, "processes": False, "dashboard_address": "127.0.0.1:0"}
        }
    }
    with (
        pytest.raises(ConfigError, match=r"pip install 'dask-cloudprovider\[aws\]'"),
        connect(knob),
    ):
        pass
    provider = types.ModuleType("dask_cloudprovider.aws")
    provider.FargateCluster = LocalCluster
    monkeypatch.setitem(sys.modules, "dask_cloudprovider", types.ModuleType("dask_cloudprovider"))
    monkeypatch.setitem(sys.modules, "dask_cloudprovider.aws", provider)
    with connect(knob) as other:
        assert len(other.nthreads()) == 1


class Stalling(FTRLProximal):
    """Names its process once, in its second round, and waits there to be killed."""

    def partial_fit_codes(self, codes, y, sample_weight=None):
        self.n_calls = getattr(self, "n_calls", 0) + 1
        if self.n_calls == 25 and self.flag is not None:
            try:
                with Path(self.flag).open("x") as file:
                    file.write(str(os.getpid()))
            except FileExistsError:
                pass
            else:
                time.sleep(60)
        return super().partial_fit_codes(codes, y, sample_weight)


@pytest.mark.slow
def test_training_outlives_a_worker_killed_midway(client, store, tmp_path):
    """Another worker repeats its shard, and the weights are those of an undisturbed run."""

    def train(flag):
        learner = Stalling(n_features=2**BITS)
        learner.flag = flag
        return fit_on(client, learner, store.train, store.valid, n_shards=2, max_epochs=3)

    flag = tmp_path / "pid"
    undisturbed, _ = train(None)
    before = set(client.nthreads())
    killer = kill_when(lambda: int(flag.read_text() or 0) if flag.exists() else 0)
    learner, history = train(str(flag))
    killer.join(timeout=60)
    assert set(client.nthreads()) != before
    assert len(history.epochs) == 3
    assert (learner.state_ == undisturbed.state_).all()


@pytest.mark.slow
def test_hashing_outlives_a_worker_killed_midway(client, store, tmp_path):
    """Partial parts are written again; no file of the dead worker is left."""
    client.wait_for_workers(2, timeout=60)
    pids = client.run(os.getpid)
    killer = kill_when(lambda: next(iter(pids.values())) if any(tmp_path.glob("part-*")) else 0)
    write_features_on(client, store.log, SPANS["train"], store.contract, tmp_path, 512)
    killer.join(timeout=60)
    write_features(store.log, SPANS["train"], store.contract, tmp_path / "single", 512)
    single = bytes_of(tmp_path / "single")
    (tmp_path / "single").rename(tmp_path.parent / f"{tmp_path.name}-single")
    assert bytes_of(tmp_path) == single
    assert not set(pids) <= set(client.nthreads())


def test_a_shard_learns_with_weights(tmp_path):
    """Those of its files; it stands for their sum, not for its rows."""
    schema = Schema.from_dict(RAW | {"weight": "n"})
    contract = HashContract.from_schema(schema, bits=BITS)
    log, weight = FakeLog(), np.random.default_rng(2).integers(1, 9, 1000).astype(float)
    log.table = log.table.append_column("n", pa.array(weight))
    write_features(log, (0, 1000), contract, tmp_path, 256)
    features = FeatureSet(tmp_path)
    (whole,) = training.OneBatch(features, with_labels=True).batches()
    assert whole.weight.tolist() == weight.tolist()
    learner, alone = (make_learner("ftrl", 2**BITS) for _ in range(2))
    shard, total, loss = training._fit_shard(learner, whole.codes, 1, 0)
    losses = 0.0
    for batch in features.batches():
        alone.partial_fit_codes(batch.codes, batch.label, batch.weight)
        losses += alone.loss_ * batch.weight.sum()
    assert (total, loss) == pytest.approx((weight.sum(), losses))
    assert (shard.state_ == alone.state_).all()
