"""Charts are well-formed markup and lose nothing that matters."""

from xml.etree import ElementTree as ET

import numpy as np
import pytest

from cryptoai.backtesting.svg import Bar, Dots, Line, columns, line_chart, thin, ticks, waterfall


@pytest.mark.parametrize(
    ("low", "high", "found"),
    [
        (0.0, 1.0, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (-0.19, 0.0, [-0.15, -0.1, -0.05, 0.0]),
        (61_598.0, 61_722.0, [61_600.0, 61_650.0, 61_700.0]),
        (3.0, 3.0, [3.0]),
    ],
)
def test_ticks_are_round_numbers_inside_the_range(low: float, high: float, found: list[float]) -> None:
    """1, 2 or 5 times a power of ten apart."""
    assert ticks(low, high) == pytest.approx(found)


def test_thinning_keeps_the_ends_and_every_spike() -> None:
    """Of 100,000 points a few hundred remain, with the one spike and the one dip."""
    y = np.zeros(100_000)
    y[54_321], y[77_777] = 9.0, -9.0
    x, kept = thin(np.arange(100_000.0), y)
    assert len(x) <= 402
    assert (kept.max(), kept.min(), x[0], x[-1]) == (9.0, -9.0, 0.0, 99_999.0)


def test_a_line_chart_is_well_formed_and_breaks_at_missing_values() -> None:
    """Titles are escaped, NaN parts the line in two, dots are drawn."""
    line = Line("a<b", "s1", np.arange(5.0), np.array([1.0, 2.0, np.nan, 3.0, 4.0]))
    mark = Dots("buy", "buy", np.array([1.0]), np.array([2.0]), up=True)
    picture = ET.fromstring(line_chart("x < y & z", [line], str, str, dots=[mark]))  # noqa: S314 - our own text
    assert len(picture.findall("polyline")) == 2
    assert len(picture.findall("polygon")) == 1
    assert picture.findtext("title") == "x < y & z"


def test_a_constant_line_still_has_a_picture() -> None:
    """A flat curve has no range; the chart gives it one."""
    picture = line_chart("flat", [Line("flat", "s2", np.arange(3.0), np.zeros(3))], str, str)
    assert "nan" not in picture


def test_the_waterfall_starts_each_step_where_the_last_ended() -> None:
    """+10, -4, total 6: the fall starts where the rise ended, and the total reaches its end."""
    picture = ET.fromstring(  # noqa: S314 - our own text
        waterfall("w", [Bar("gross", 10.0, total=True), Bar("fees", -4.0), Bar("net", 6.0, total=True)], str)
    )
    gross, fees, net = ({k: float(r.get(k, "nan")) for k in ("x", "width", "y")} for r in picture.findall("rect"))
    ends = [bar["x"] + bar["width"] for bar in (gross, fees, net)]
    assert ends[1] == pytest.approx(ends[0], abs=0.2)
    assert fees["x"] == pytest.approx(ends[2], abs=0.2)
    assert gross["x"] == pytest.approx(net["x"], abs=0.2)
    assert gross["y"] < fees["y"] < net["y"]


def test_columns_stand_on_zero_and_show_their_reference() -> None:
    """One column twice as high as the other, the negative one below zero, a dashed line where calibration would be."""
    bars = [Bar("a", 1.0), Bar("b", 2.0), Bar("c", -1.0)]
    picture = ET.fromstring(columns("c", bars, str, reference=1.0))  # noqa: S314 - our own text
    one, two, below = ({k: float(r.get(k, "nan")) for k in ("y", "height")} for r in picture.findall("rect"))
    assert two["height"] == pytest.approx(2 * one["height"], abs=0.3)
    assert below["y"] == pytest.approx(one["y"] + one["height"], abs=0.2)
    (line,) = picture.findall("line")
    assert float(line.get("y1", "nan")) == pytest.approx(one["y"], abs=0.2)
