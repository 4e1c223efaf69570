"""Times of files as int64 nanoseconds UTC: seconds, ms, us, ns, ISO text, dates and typed columns alike.

A time that cannot be read is 0, which the quarantine refuses with its reason; a whole column that cannot be read is an
error, because then the file is not what the user thinks it is.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from cryptoai.core.errors import DataError

__all__ = ["nanoseconds"]

_UNITS = ((1e11, 1_000_000_000), (1e14, 1_000_000), (1e17, 1_000))
_FORMATS = ("%Y-%m-%d", "%Y/%m/%d", "%d-%m-%Y", "%m/%d/%Y", "%Y%m%d")


def nanoseconds(column: pl.Series) -> npt.NDArray[np.int64]:
    """int64[n] ns UTC, 0 where there is no time; a text without a zone is UTC. `DataError` if no row has a time."""
    if column.dtype.is_temporal():
        times = column.cast(pl.Datetime("ns", "UTC") if getattr(column.dtype, "time_zone", None) else pl.Datetime("ns"))
        return times.dt.epoch("ns").fill_null(0).to_numpy().astype(np.int64)
    whole = column.cast(pl.Int64, strict=False)
    numbers = whole if whole.null_count() < len(whole) else column.cast(pl.Float64, strict=False)
    parsed = _numbers(numbers) if numbers.null_count() * 2 <= len(column) and not _compact(column) else _texts(column)
    if len(parsed) and not parsed.any():
        raise DataError(
            f"column {column.name!r} holds no time that can be read (for example {column[0]!r}); give unix seconds,"
            " ms, us or ns, or ISO 8601"
        )
    return parsed


def _compact(column: pl.Series) -> bool:
    """Dates such as 20240131, which look like small numbers."""
    return column.dtype == pl.String and bool(column.str.contains(r"^(19|20)\d{6}$").fill_null(False).all())


def _numbers(numbers: pl.Series) -> npt.NDArray[np.int64]:
    """Unix times; the unit is the one that the middle of the column has."""
    given = numbers.fill_null(0)
    size = float(np.median(np.abs(given.to_numpy()[given.to_numpy() != 0]))) if (given != 0).any() else 0.0
    unit = next((unit for most, unit in _UNITS if size < most), 1)
    if given.dtype.is_integer():
        values = given.to_numpy()
        safe = np.abs(values) <= np.iinfo(np.int64).max // unit
        return np.where(safe, values, 0) * unit
    values = given.to_numpy()
    values = np.where(np.isfinite(values) & (np.abs(values) < 9e18 / unit), values, 0.0)
    whole = np.floor(values)
    return whole.astype(np.int64) * unit + np.round((values - whole) * unit).astype(np.int64)


def _texts(column: pl.Series) -> npt.NDArray[np.int64]:
    texts = column.cast(pl.String).str.strip_chars().str.replace(r"\s*(Z|UTC|GMT)$", "+00:00").str.replace(" ", "T")
    zoned = texts.str.contains(r"T.*[+-]\d\d:?\d\d$")
    whole = pl.when(zoned.fill_null(False)).then(texts).otherwise(texts + "+00:00").alias("t")
    times = pl.select(whole)["t"].str.to_datetime(time_unit="ns", time_zone="UTC", format="%FT%T%.f%:z", strict=False)
    for form in _FORMATS:
        if times.null_count() == 0:
            break
        dates = texts.str.to_date(form, strict=False).cast(pl.Datetime("ns")).dt.replace_time_zone("UTC")
        times = times.fill_null(dates)
    return times.dt.epoch("ns").fill_null(0).to_numpy().astype(np.int64)
