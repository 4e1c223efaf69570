"""What the lake holds: every hole and refusal is on the table and in the picture."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from typer.testing import CliRunner

import cryptoai.testing
from cryptoai.cli.data import app
from cryptoai.core.clock import SECOND
from cryptoai.core.errors import DataError
from cryptoai.data_universe.asset_registry.registry import instrument
from cryptoai.data_universe.facts import Facts
from cryptoai.data_universe.inspect import Lane, lanes
from cryptoai.data_universe.inspect_picture import picture
from cryptoai.data_universe.lake import import_capture
from cryptoai.data_universe.lake_facts import write_facts

BTC = "binance_usdm:BTCUSDT"
HOUR = 3_600 * SECOND
START = 1_704_067_200 * SECOND
TAPE = Path(cryptoai.testing.__file__).parent / "tapes" / "binance_usdm_btcusdt_20240808.gz"


def _lake(root: Path) -> Path:
    """Funding with a hole of a day, marks with one of an hour and an absurd one, liquidations without holes."""
    hours = np.array([0, 8, 16, 40, 48])
    time = START + hours * HOUR
    write_facts(root, BTC, Facts.of("funding", time, time + SECOND, [[1e-4, 28_800]] * 5), "a")
    minutes = START + np.array([*range(30), *range(90, 120)]) * 60 * SECOND
    prices = np.full((60, 2), 20.0)
    prices[10, 0] = 0.0001
    write_facts(root, BTC, Facts.of("mark", minutes, minutes, prices), "a")
    write_facts(root, BTC, Facts.of("liquidations", time, time, [[1, 20, 1]] * 5), "a")
    return root


def test_lanes_name_holes_and_refusals(tmp_path: Path) -> None:
    """A missing payment, a silent hour and a price that was refused, each where it happened."""
    forced, funding, mark = sorted(lanes(_lake(tmp_path)), key=lambda lane: lane.kind not in ("liquidations",))
    assert (funding.kind, funding.rows, funding.lag_s) == ("funding", 5, 1.0)
    assert funding.holes == ((START + 16 * HOUR, START + 40 * HOUR),)
    assert mark.holes == ((START + 29 * 60 * SECOND, START + 90 * 60 * SECOND),)
    assert (dict(mark.refused), mark.outliers) == ({"absurd price": 1}, (START + 600 * SECOND,))
    assert (forced.kind, len(forced.spans)) == ("liquidations", 1)


def test_bars_without_a_hole_are_one_run(tmp_path: Path) -> None:
    """A bar covers its whole width."""
    time = START + np.arange(4) * HOUR
    write_facts(tmp_path, BTC, Facts.of("candles", time, time + HOUR, [[3_600, 1, 1, 1, 1, 1]] * 4), "a")
    (lane,) = lanes(tmp_path)
    assert lane.spans == ((START, START + 4 * HOUR),)


def test_a_tape_is_a_lane_too(tmp_path: Path) -> None:
    """The shipped capture has one run, its clock error and no hole."""
    report = import_capture(tmp_path, TAPE, instrument(BTC))
    (lane,) = lanes(tmp_path)
    assert (lane.kind, lane.rows, len(lane.holes)) == ("events", report.total_rows, report.gaps)
    assert lane.spans[0][0] == report.first_known_at
    assert lane.lag_s == pytest.approx(1.272, abs=0.01)


def test_damage_is_a_lane_and_an_error(tmp_path: Path) -> None:
    """The rest is still shown; the command ends with the sentence that names the file."""
    _lake(tmp_path)
    bad = next(tmp_path.glob("kind=funding/**/*.parquet"))
    bad.write_bytes(b"PAR1")
    assert [bool(lane.damage) for lane in lanes(tmp_path)] == [True, False, False]
    result = CliRunner().invoke(app, ["inspect", "--lake", str(tmp_path)])
    assert "mark" in result.stdout
    assert isinstance(result.exception, DataError)
    assert bad.name in str(result.exception)


def test_only_refused_rows_are_a_lane(tmp_path: Path) -> None:
    """An instrument of which nothing was believed does not vanish."""
    write_facts(tmp_path, BTC, Facts.of("mark", [START], [START], [[0.0, 0.0]]), "a")
    (lane,) = lanes(tmp_path)
    assert (lane.rows, sum(lane.refused.values())) == (0, 1)


def test_the_picture_shows_what_the_table_says(tmp_path: Path) -> None:
    """As many bars, holes and dots as there are, in markup that parses, without anything from elsewhere."""
    page = picture(lanes(_lake(tmp_path)), "The lake <of> tests & more")
    drawing = ET.fromstring(page[page.index("<svg") : page.index("</svg>") + 6])  # noqa: S314 - our own text
    styles = [element.get("class") for element in drawing.iter()]
    assert (styles.count("bar"), styles.count("hole"), styles.count("dot")) == (5, 2, 1)
    assert "http" not in page
    assert "<script" not in page
    assert "&lt;of&gt;" in page


@pytest.mark.parametrize("years", [0, 1e-9, 1e-5, 0.01, 0.3, 3, 12])
def test_an_axis_has_a_few_round_ticks(years: float) -> None:
    """From a second to decades; a lake without data is a page that says so."""
    spans = ((START, START + round(years * 365 * 24 * HOUR)),) if years else ()
    page = picture([Lane(BTC, "mark", 1, spans)], "x")
    ticks = page.count('class="axis"')
    assert ("no data" in page) == (years == 0)
    assert ticks <= 9
    assert ticks >= (2 if years > 1e-8 else 0)


def test_many_holes_do_not_make_a_huge_page() -> None:
    """Ten thousand holes are drawn as what can be seen of them."""
    spans = tuple((START + n * 10 * SECOND, START + (n * 10 + 5) * SECOND) for n in range(10_000))
    assert len(picture([Lane(BTC, "mark", 10_000, spans)], "x")) < 400_000


def test_the_command_prints_and_draws(tmp_path: Path) -> None:
    """Table on stdout, page where asked."""
    _lake(tmp_path)
    page = tmp_path / "lake.html"
    result = CliRunner().invoke(app, ["inspect", "--lake", str(tmp_path), "--picture", str(page)])
    assert result.exit_code == 0
    assert "refused 1: absurd price" in result.stdout
    assert page.read_text().startswith("<!doctype html>")


def test_import_facts_and_compact_from_the_command(tmp_path: Path) -> None:
    """The report names what was written; the second import writes nothing."""
    table = tmp_path / "funding.csv"
    table.write_text("symbol,date,funding_rate\nBTCUSDT,2024-01-01,0.0001\nBTCUSDT,2024-02-01,abc\n")
    arguments = ["import-facts", str(table), "--instrument", "binance_usdm:*", "--lake", str(tmp_path / "lake")]
    first = CliRunner().invoke(app, arguments)
    assert "1 of 2 rows written" in first.stdout
    assert "refused 1 row(s): no rate" in first.stdout
    assert "0 of 2 rows written" in CliRunner().invoke(app, arguments).stdout
    done = CliRunner().invoke(app, ["compact", "--lake", str(tmp_path / "lake")])
    assert done.stdout.startswith("0 file(s) fewer")
