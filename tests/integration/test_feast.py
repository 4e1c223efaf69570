"""The real Feast with SQLite and DuckDB: what we promise on top of it, and the traps that we rely on knowing."""

from __future__ import annotations

import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from cryptoai.core.clock import MS, SECOND
from cryptoai.core.errors import ConfigError, DataError
from cryptoai.core.state import StateVector
from cryptoai.data_universe import schema
from cryptoai.data_universe.adapters.feast_store import FeastStore
from cryptoai.data_universe.features import Batch
from cryptoai.testing import point_in_time

REPO = Path(__file__).parents[2] / "feature_repo"
PERP = "binance_usdm:BTCUSDT"
START = 1_723_161_300 * SECOND + 7
FLOW = schema.group_slice("flow")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeastStore:
    """One applied store for the whole file: each test has an instrument of its own."""
    made = FeastStore(REPO, tmp_path_factory.mktemp("store"))
    made.apply()
    return made


@pytest.fixture(scope="module")
def history(store: FeastStore) -> tuple[np.ndarray, Batch]:
    """Eleven seconds of rows with missing numbers, each 100 ms, written offline and materialised."""
    random = np.random.default_rng(2)
    times = START + np.arange(110) * 100 * MS
    values = random.normal(size=(110, schema.WIDTH)).astype(np.float32).astype(float)
    mask = random.random(values.shape) > 0.2
    mask[:, schema.group_slice("portfolio")] = False
    rows = Batch(np.where(mask, values, 0.0), mask, times - 5)
    store.write_offline("other:ETHUSDT", times, rows)
    store.write_offline(PERP, times[:50], Batch(*(column[:50] for column in rows)))
    store.write_offline(PERP, times, rows)
    store.materialize(int(times[0]), int(times[-1]))
    return times, rows


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> FeastStore:
    """A store whose offline files were written by hand, out of order and with repeats."""
    folder = tmp_path_factory.mktemp("cases")
    point_in_time.write_rows(folder / "offline")
    made = FeastStore(REPO, folder)
    made.apply()
    return made


def made_rows(times: np.ndarray) -> Batch:
    """The row number in every stored feature."""
    values = np.repeat(np.arange(len(times), dtype=float)[:, None], schema.WIDTH, axis=1)
    return Batch(values, np.ones(values.shape, bool), times - 3)


def made_state(name: str, known_at: int, value: float = 0.5) -> StateVector:
    """Every third feature missing, the portfolio group missing as a whole."""
    mask = [place % 3 != 0 and place < schema.group_slice("portfolio").start for place in range(schema.WIDTH)]
    return StateVector.of(name, (known_at - 3, known_at), schema.SCHEMA_HASH, [value] * schema.WIDTH, mask)


def packed(rows: Batch, k: int, known_at: int) -> StateVector:
    times = (int(rows.event_times[k]), known_at)
    return StateVector.of(PERP, times, schema.SCHEMA_HASH, rows.values[k].tolist(), rows.mask[k].tolist())


def test_what_was_pushed_is_read_back_bit_for_bit(store: FeastStore) -> None:
    """Values, mask and both times to the nanosecond, hence the same state hash."""
    state = made_state("test:ROUND", START)

    assert store.push(state)
    assert store.read("test:ROUND", START + 5).hash() == state.hash()


def test_an_older_push_is_refused_and_an_equal_one_corrects(store: FeastStore) -> None:
    """SQLite alone would let the older state win."""
    assert store.push(made_state("test:OLDER", START, 2.0))

    assert not store.push(made_state("test:OLDER", START - 1, 1.0))
    assert store.read("test:OLDER", START).floats()[1] == 2.0
    assert store.push(made_state("test:OLDER", START, 3.0))
    assert store.read("test:OLDER", START).floats()[1] == 3.0


@pytest.mark.parametrize("group", schema.STORED_GROUPS)
def test_a_stale_group_is_masked_alone(store: FeastStore, group: str) -> None:
    """Feast enforces no ttl online; each group has its own limit, inclusive, since its newest fact became true."""
    facts = dict.fromkeys(schema.STORED_GROUPS, START)
    store.push(made_state("test:STALE", START), group_times=facts)
    edge, place = START + store.allowed[group], schema.group_slice(group)
    lasting = [g for g in schema.STORED_GROUPS if store.allowed[g] > store.allowed[group]]

    assert any(store.read("test:STALE", edge).present()[place])
    assert not any(store.read("test:STALE", edge + 1).present()[place])
    assert all(any(store.read("test:STALE", edge + 1).present()[schema.group_slice(g)]) for g in lasting)
    assert store._reader._ages["test:STALE"][group] == pytest.approx((store.allowed[group] + 1) / SECOND)


def test_a_dead_feed_is_masked_though_its_rows_are_fresh(store: FeastStore) -> None:
    """Rows go on being computed from old facts; only the groups of the registry and the clock have no feed to die."""
    dead = dict.fromkeys(schema.STORED_GROUPS, START - 10**15)
    store.push(made_state("test:DEAD", START), group_times=dead)
    seen = store.read("test:DEAD", START).present()

    assert [g for g in schema.STORED_GROUPS if any(seen[schema.group_slice(g)])] == ["asset"]
    assert store._reader._ages["test:DEAD"]["flow"] == 10**6
    assert store.feed_ages["flow"] >= 10**6, "the oldest of all instruments is what a metric shows"


def test_a_state_from_the_future_is_masked(store: FeastStore) -> None:
    """What is known later than now is not known."""
    store.push(made_state("test:FUTURE", START))

    assert not any(store.read("test:FUTURE", START - 1).present())


def test_an_unknown_instrument_has_no_features(store: FeastStore) -> None:
    """Nothing is found and nothing is invented."""
    state = store.read("test:NOBODY", START)

    assert not any(state.present())
    assert state.known_at == 0


def test_a_state_of_another_schema_is_not_stored(store: FeastStore) -> None:
    """Columns of another meaning must not reach the store."""
    alien = StateVector.of("test:ALIEN", (0, 0), "0" * 32, [0.0] * 200, [False] * 200)

    with pytest.raises(DataError, match="schema"):
        store.push(alien)


def test_a_null_is_missing_whatever_feast_calls_it(store: FeastStore) -> None:
    """The trap itself: the SDK reports a stored null as PRESENT."""
    store.push(made_state("test:NULL", START))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        answer = store._store.get_online_features(
            features=[f"flow:{schema.NAMES[0]}", f"flow:{schema.NAMES[1]}"], entity_rows=[{"instrument": "test:NULL"}]
        )
    statuses = {
        name: answer.proto.results[k].statuses[0] for k, name in enumerate(answer.proto.metadata.feature_names.val)
    }

    assert answer.to_dict()[schema.NAMES[0]] == [None]
    assert statuses[schema.NAMES[0]] == statuses[schema.NAMES[1]]
    assert store.read("test:NULL", START).present()[:2] == [False, True]


def test_materialised_history_is_the_newest_row(store: FeastStore, history: tuple[np.ndarray, Batch]) -> None:
    """The online state after materialising equals the state that the engine made at that time."""
    times, rows = history

    assert store.read(PERP, int(times[-1])) == packed(rows, -1, int(times[-1]))


def test_the_offline_join_gives_what_was_known(store: FeastStore, history: tuple[np.ndarray, Batch]) -> None:
    """A row is seen from its own microsecond on, not before it, not past any ttl, and in the order asked for."""
    times, rows = history
    micro = -(-times // 1000) * 1000
    asked = np.array(
        [micro[40], micro[3] + 50 * MS, micro[3] - 1000, micro[0] - 1000, micro[-1] + 4 * 86_400 * SECOND, micro[40]]
    )
    values, mask = store.history(PERP, asked)
    expected = rows.values.astype(np.float32)

    assert np.array_equal(mask, rows.mask[[40, 3, 2, 0, 0, 40]] & np.array([1, 1, 1, 0, 0, 1], bool)[:, None])
    assert np.array_equal(values[:3], expected[[40, 3, 2]])


def test_no_connection_is_left_for_the_end_of_the_program(store: FeastStore, history: tuple[np.ndarray, Batch]) -> None:
    """DuckDB lists what it calls leaks on the user's screen if one is still open then."""
    import ibis

    last = int(history[0][-1])
    store.history(PERP, np.array([last]))
    after_a_join = ibis.options.default_backend
    store.materialize(0, last)
    assert (after_a_join, ibis.options.default_backend) == (None, None)


def test_history_is_kept_for_each_instrument_in_microseconds(
    store: FeastStore, history: tuple[np.ndarray, Batch]
) -> None:
    """DuckDB cannot materialise ns timestamps; writing one instrument again leaves the others and no partial file."""
    times, _ = history
    table = pq.read_table(store.past.path("flow", PERP))

    assert str(table.schema.field("event_timestamp").type) == "timestamp[us, tz=UTC]"
    assert table.num_rows == len(times)
    assert store.past.instruments() == [PERP, "other:ETHUSDT"]
    assert sorted(path.name for path in store.past.folder.iterdir()) == sorted(schema.STORED_GROUPS)


def test_views_carry_the_schema_and_nothing_else(store: FeastStore) -> None:
    """Seven views of Float32 fields in schema order plus two times; the service lists all 200 in schema order."""
    views = {group: store._store.get_feature_view(group) for group in schema.STORED_GROUPS}
    service = store._store.get_feature_service("trading_state_v1")
    served = [f.name for projection in service.feature_view_projections for f in projection.features]

    assert served == list(schema.NAMES)
    for group, view in views.items():
        names = [f.name for f in view.features]
        assert names == [*schema.NAMES[schema.group_slice(group)], f"{group}_known_at_ns", f"{group}_event_time_ns"]
        assert view.tags["schema_hash"] == schema.SCHEMA_HASH
        assert view.ttl.total_seconds() * SECOND == store.allowed[group]


def test_the_portfolio_comes_with_the_request(store: FeastStore) -> None:
    """The on-demand view hands on what only the bot knows, a NaN as a null, beside the stored features."""
    store.push(made_state("test:HELD", START, 0.5))
    names = schema.NAMES[schema.group_slice("portfolio")]
    held = {f"held_{name}": 0.1 * k if k else float("nan") for k, name in enumerate(names)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        service = store._store.get_feature_service("trading_state_v1")
        row = store._store.get_online_features(service, [{"instrument": "test:HELD", **held}]).to_dict()

    assert [row[name][0] for name in names] == [None, *(0.1 * k for k in range(1, 8))]
    assert [row[name][0] for name in schema.NAMES[:3]] == [None, 0.5, 0.5]


@pytest.mark.parametrize("group", schema.STORED_GROUPS)
def test_both_joins_answer_the_hand_checked_cases(group: str, cases: FeastStore) -> None:
    """Ties, holes, repeats, the edge of ttl: Feast's duckdb engine and our own join, in every column of the group."""
    times = np.array([point_in_time.moment(group, case.share, case.us) for case in point_in_time.CASES])
    names = [case.instrument for case in point_in_time.CASES]
    place = schema.group_slice(group)
    wanted = np.array([np.nan if case.value is None else case.value for case in point_in_time.CASES])[:, None]
    values, mask = cases.history(names, times)
    ours = cases.join(names, times)

    for found, known in ((values, mask), (ours.values, ours.mask)):
        seen = np.where(known[:, place], found[:, place], np.nan)
        assert np.array_equal(seen, np.broadcast_to(wanted, seen.shape), equal_nan=True)


def test_materialize_never_takes_back_what_a_push_brought(tmp_path: Path) -> None:
    """In SQLite Feast alone lets an older row win; ours keeps the push, and says that it moved nothing."""
    store = FeastStore(REPO, tmp_path)
    store.apply()
    times = START // 1000 * 1000 + np.arange(5) * SECOND
    store.write_offline("t:PUSHED", times, made_rows(times))
    store.write_offline("t:OTHER", times, made_rows(times))
    newer = made_state("t:PUSHED", int(times[-1]) + 7, 9.0)
    store.push(newer)

    assert store.materialize(None, int(times[-1])) == ["t:OTHER"]
    assert store.materialize(None, int(times[-1])) == []
    assert store.materialize(0, int(times[-1])) == ["t:OTHER"]
    for read in (store.read, store.read_sdk):
        assert read("t:PUSHED", newer.known_at).hash() == newer.hash()
        assert read("t:OTHER", int(times[-1])).known_at == times[-1]


def test_the_dask_engine_is_refused(tmp_path: Path) -> None:
    """It drops rows of a join and takes all memory; also where the file says nothing, because it is Feast's default."""
    for number, text in enumerate(("offline_store: {type: dask}", "project: x")):
        repo = tmp_path / str(number)
        shutil.copytree(REPO, repo, ignore=shutil.ignore_patterns("data", "__pycache__"))
        (repo / "feature_store.yaml").write_text(f"provider: local\n{text}\n")
        with pytest.raises(ConfigError, match="dask"):
            FeastStore(repo, tmp_path / "data")


def test_everything_has_an_absolute_path(store: FeastStore) -> None:
    """DuckDB resolves a relative one from where the command runs, Feast from its repository."""
    config = store._config

    assert Path(config.online_store.path).is_absolute()
    assert Path(config.registry.path).is_absolute()
    assert all(
        Path(source.path).is_absolute() for source in store._store.list_data_sources() if hasattr(source, "path")
    )
    assert config.offline_store.type == "duckdb"


def test_a_registry_in_sql_serves_as_the_file_does(tmp_path: Path) -> None:
    """What a cluster uses; its URL stays in the environment."""
    url = f"sqlite:///{tmp_path}/registry.sqlite"
    store = FeastStore(REPO, tmp_path / "data", registry=url)
    store.apply()
    state = made_state("t:SQL", START)
    store.push(state)

    assert FeastStore(REPO, tmp_path / "data", registry=url).read_sdk("t:SQL", START).hash() == state.hash()
    assert "registry.sqlite" not in (tmp_path / "data" / "feature_store.yaml").read_text()
    assert not (tmp_path / "data" / "registry.db").exists()


def test_importing_the_adapter_does_not_import_feast() -> None:
    """Its import takes seconds: help texts, the hot path and the join must not pay for it."""
    code = (
        "import sys; import cryptoai.data_universe.adapters.feast_store, cryptoai.data_universe.adapters.hot_store,"
        " cryptoai.data_universe.history, cryptoai.cli.features; print('feast' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_plain_feast_command_works_beside_ours(tmp_path: Path) -> None:
    """apply, materialize and feature-views list in the folder that `apply` prepared, on the same data."""
    store = FeastStore(REPO, tmp_path)
    store.apply()
    times = START // 1000 * 1000 + np.arange(5) * SECOND
    store.write_offline("t:PLAIN", times, made_rows(times))
    (store.past.folder / "left.part").touch()  # of a writer that was killed

    def feast(*words: str) -> str:
        command = [str(Path(sys.executable).parent / "feast"), "--chdir", str(tmp_path), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd="/").stdout

    feast("apply")
    feast("materialize", "2024-08-01T00:00:00", "2024-08-31T00:00:00")

    listed = feast("feature-views", "list")

    assert all(group in listed for group in (*schema.STORED_GROUPS, "portfolio"))
    assert store.read_sdk("t:PLAIN", int(times[-1])).known_at == times[-1]


def test_feast_apply_works_in_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `feast apply` does in the folder: the same objects, with data below it, wherever it stands."""
    folder = tmp_path / "anywhere"
    folder.mkdir()
    for name in ("feature_store.yaml", "definitions.py"):
        shutil.copy(REPO / name, folder)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from feast.repo_config import load_repo_config
        from feast.repo_operations import apply_total

        apply_total(load_repo_config(folder, folder / "feature_store.yaml"), folder, skip_source_validation=True)

    assert (folder / "data/registry.db").stat().st_size > 0
    assert (folder / "data/online.db").stat().st_size > 0


def test_a_wrong_repository_is_named(tmp_path: Path) -> None:
    """The error says which key to set."""
    with pytest.raises(DataError, match=r"features\.repo"):
        FeastStore(tmp_path, tmp_path / "data")


def test_the_first_push_of_a_replay_may_rewind(store: FeastStore) -> None:
    """An online store left by a later run must not freeze a replay of older data."""
    store.push(made_state("test:REWIND", START + SECOND, 2.0))

    assert store.push(made_state("test:REWIND", START, 1.0), rewind=True)
    assert store.read("test:REWIND", START).floats()[1] == 1.0
