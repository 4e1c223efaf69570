"""The real Feast with SQLite and DuckDB: what we promise on top of it, and the traps that we rely on knowing."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from cryptoai.core.clock import MS, SECOND
from cryptoai.core.errors import DataError
from cryptoai.core.state import StateVector
from cryptoai.data_universe import schema
from cryptoai.data_universe.adapters.feast_store import FeastStore
from cryptoai.data_universe.asset_registry.registry import instrument
from cryptoai.data_universe.features import Batch, FeatureEngine, batch
from cryptoai.testing.slices import head

REPO = Path(__file__).parents[2] / "feature_repo"
PERP, SPOT = "binance_usdm:BTCUSDT", "binance_spot:BTCUSDT"
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
    """Eleven seconds of the real tape's features, each 100 ms, written offline and materialised."""
    tape, spot = head(PERP, 3_000), head(SPOT, 1_400)
    times = np.arange(tape.known_at[0], tape.known_at[-1], 100 * MS)
    rows = batch(FeatureEngine(instrument(PERP), instrument(SPOT)), tape, spot, times)
    store.write_offline("other:ETHUSDT", times, rows)
    store.write_offline(PERP, times[:50], Batch(*(column[:50] for column in rows)))
    store.write_offline(PERP, times, rows)
    store.materialize(int(times[0]), int(times[-1]))
    return times, rows


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


def test_a_stale_group_is_masked_alone(store: FeastStore) -> None:
    """Feast enforces no ttl online; the age is counted from known_at, inclusive at the limit."""
    store.push(made_state("test:STALE", START))

    assert any(store.read("test:STALE", START + 5 * SECOND).present())
    assert not any(store.read("test:STALE", START + 5 * SECOND + 1).present())


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
    """A row is seen from its own microsecond on, not before it, not past its ttl, and in the order asked for."""
    times, rows = history
    micro = -(-times // 1000) * 1000
    asked = np.array(
        [micro[40], micro[3] + 50 * MS, micro[3] - 1000, micro[0] - 1000, micro[-1] + 6 * SECOND, micro[40]]
    )
    values, mask = store.history(PERP, asked)
    expected = rows.values.astype(np.float32)

    assert np.array_equal(mask, rows.mask[[40, 3, 2, 0, 0, 40]] & np.array([1, 1, 1, 0, 0, 1], bool)[:, None])
    assert np.array_equal(values[:3], expected[[40, 3, 2]])


def test_history_is_kept_for_each_instrument_in_microseconds(
    store: FeastStore, history: tuple[np.ndarray, Batch], tmp_path: Path
) -> None:
    """DuckDB cannot materialise ns timestamps; writing one instrument again leaves the others and no partial file."""
    times, _ = history
    folder = store._path("flow").parent
    table = pq.read_table(folder / "flow.parquet")

    assert str(table.schema.field("event_timestamp").type) == "timestamp[us, tz=UTC]"
    assert table.num_rows == 2 * len(times)
    assert sorted(path.name for path in folder.iterdir()) == sorted(f"{g}.parquet" for g in schema.STORED_GROUPS)


def test_views_carry_the_schema_and_nothing_else(store: FeastStore) -> None:
    """Seven views of Float32 fields in schema order plus two times; the service lists all 192 stored features."""
    views = {group: store._store.get_feature_view(group) for group in schema.STORED_GROUPS}
    service = store._store.get_feature_service("trading_state_v1")
    served = [f.name for projection in service.feature_view_projections for f in projection.features]

    assert served == [f.name for f in schema.FEATURES if f.group != "portfolio"]
    for group, view in views.items():
        names = [f.name for f in view.features]
        assert names == [*schema.NAMES[schema.group_slice(group)], "known_at_ns", "event_time_ns"]
        assert view.tags["schema_hash"] == schema.SCHEMA_HASH


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
