"""Samples for programs and charts: raw columns by number, or few points that keep every spike.

A chart of a long experiment reads rollups, never millions of raw rows. Both ways give the same
shape: ``columns`` of equal length, keyed by name.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import pairwise
from statistics import median
from typing import Any, Literal, NamedTuple

from web_server.experiments.models import Experiment
from web_server.measurements.models import ROLLUP_SIZES, Rollup, Sample

COLUMNS = (
    "seq",
    "time_us",
    "elapsed_s",
    "step",
    "step_count",
    "cycle",
    "mode",
    "voltage_v",
    "current_a",
    "power_w",
    "temperature_c",
    "charge_in_ah",
    "charge_out_ah",
    "energy_in_wh",
    "energy_out_wh",
    "flags",
)
DRAWN = ("voltage_v", "current_a", "power_w", "temperature_c")
MAX_ROWS = 10_000
MAX_POINTS = 10_000
# A batch that got lost comes again after 10 s (wire.md); a hole older than this stays one.
HOLE_HEALS_WITHIN_US = 60_000_000
# No line is drawn over a pause in recording longer than this and 20 times the usual distance.
GAP_S = 60.0
GAP_TIMES = 20.0

Columns = dict[str, list[Any]]


def raw(experiment: Experiment, after: int = 0, limit: int = 1000) -> dict[str, Any]:
    """Return up to ``limit`` samples with ``seq`` > ``after`` as columns, in order.

    ``next_after`` is the ``after`` of the next call. Rows behind a young hole are held back until
    it is filled, so that a client that follows by number misses none.
    """
    rows = list(
        Sample.objects.filter(experiment_id=experiment.pk, seq__gt=after)
        .order_by("seq")
        .values_list(*COLUMNS, "extended")[:limit]
    )
    rows = _before_a_young_hole(rows, after, experiment)
    return {
        "experiment": str(experiment.uuid),
        "columns": as_columns(rows),
        "next_after": rows[-1][0] if rows else after,
        "complete": experiment.is_complete,
    }


def as_columns(rows: list[tuple[Any, ...]]) -> Columns:
    """Turn rows of ``COLUMNS`` and ``extended`` into columns, one more per extended measure."""
    columns: Columns = {name: [row[i] for row in rows] for i, name in enumerate(COLUMNS)}
    names = dict.fromkeys(name for row in rows for name in row[-1] or ())
    for name in names:
        if name not in columns:
            columns[name] = [(row[-1] or {}).get(name) for row in rows]
    return columns


def _before_a_young_hole(
    rows: list[tuple[Any, ...]], after: int, experiment: Experiment
) -> list[tuple[Any, ...]]:
    if experiment.is_complete or not rows or rows[-1][0] - after == len(rows):
        return rows
    now_us = time.time_ns() // 1000
    expected = after + 1
    for index, row in enumerate(rows):
        if row[0] != expected and now_us - row[1] < HOLE_HEALS_WITHIN_US:
            return rows[:index]
        expected = row[0] + 1
    return rows


class Atom(NamedTuple):
    """One sample, or one rollup row: where it lies, and the extremes of each drawn measure."""

    seq_first: int
    seq_last: int
    time_first_us: int
    time_last_us: int
    elapsed_first_s: float
    elapsed_last_s: float
    step_count_first: int
    step_count_last: int
    extremes: dict[str, tuple[float, float, float, float]]
    """name -> (minimum, its time, maximum, its time); missing measures are absent."""


class Moment(NamedTuple):
    """An edge of a window: ``elapsed_s`` in seconds, or ``time_us`` in UTC microseconds."""

    column: Literal["elapsed_s", "time_us"]
    at: float


def window(experiment: Experiment, start: Moment | None, end: Moment | None, points: int) -> dict[str, Any]:
    """Return the samples from ``start`` to ``end`` in about ``points`` rows per column.

    Few rows come as they are with all columns. Otherwise each bucket gives two rows, holding the
    minimum and the maximum of every measure in the order in which they happened; a row of nulls
    marks a gap. ``downsampled`` tells which.
    """
    first, last = _between(experiment, start, end)
    count = max(0, last - first + 1)
    head: dict[str, Any] = {"experiment": str(experiment.uuid)}
    tail: dict[str, Any] = {"next_after": last, "complete": experiment.is_complete}
    if count <= points:
        rows = Sample.objects.filter(experiment_id=experiment.pk, seq__gte=first, seq__lte=last)
        columns = as_columns(list(rows.order_by("seq").values_list(*COLUMNS, "extended")))
        return {**head, "columns": columns, **tail, "downsampled": False}
    buckets = max(1, points // 2)
    level = _level(count / buckets)
    atoms = list(
        _atoms_of_samples(experiment, first, last)
        if level is None
        else _atoms_of_rollups(experiment, level, first, last)
    )
    return {**head, "columns": _draw(_merge(atoms, buckets)), **tail, "downsampled": True}


def _level(rows_per_bucket: float) -> int | None:
    """Return the coarsest rollup that is still finer than a bucket; None = read the samples."""
    fitting = [level for level, size in enumerate(ROLLUP_SIZES) if size <= rows_per_bucket]
    return fitting[-1] if fitting else None


def _between(experiment: Experiment, start: Moment | None, end: Moment | None) -> tuple[int, int]:
    """Return first and last ``seq`` in the window; first > last when there is none."""
    rows = Sample.objects.filter(experiment_id=experiment.pk).order_by("seq")
    ends = rows.values_list("seq", flat=True)
    low, high = ends.first(), ends.last()
    if low is None or high is None:
        return 1, 0
    first = low if start is None else _search(rows, low, high, start)
    last = high if end is None else _search(rows, low, high, end, beyond=True) - 1
    return first, last


def _search(rows: Any, low: int, high: int, edge: Moment, beyond: bool = False) -> int:
    """Return the lowest ``seq`` at or after ``edge`` (``beyond``: after it), else high + 1.

    By halving over the primary key: ``elapsed_s`` never falls and has no index of its own.
    """
    high += 1
    while low < high:
        middle = (low + high) // 2
        found = rows.filter(seq__gte=middle).values_list("seq", edge.column).first()
        if found is None or (found[1] > edge.at if beyond else found[1] >= edge.at):
            high = middle
        else:
            low = found[0] + 1
    return low


def _atoms_of_samples(experiment: Experiment, first: int, last: int) -> Iterator[Atom]:
    rows = Sample.objects.filter(experiment_id=experiment.pk, seq__gte=first, seq__lte=last).order_by("seq")
    for seq, at, elapsed, count, extended, *measured in rows.values_list(
        "seq", "time_us", "elapsed_s", "step_count", "extended", *DRAWN
    ).iterator(chunk_size=5000):
        named = [*zip(DRAWN, measured, strict=True), *(extended or {}).items()]
        extremes = {name: (x, elapsed, x, elapsed) for name, x in named if x is not None}
        yield Atom(seq, seq, at, at, elapsed, elapsed, count, count, extremes)


def _atoms_of_rollups(experiment: Experiment, level: int, first: int, last: int) -> Iterator[Atom]:
    size = ROLLUP_SIZES[level]
    rows = Rollup.objects.filter(
        experiment_id=experiment.pk,
        level=level,
        bucket__gte=(first - 1) // size,
        bucket__lte=(last - 1) // size,
    ).order_by("bucket")
    quantities = [name.rsplit("_", 1) for name in DRAWN]
    for row in rows.iterator(chunk_size=2000):
        extremes = {}
        for quantity, unit in quantities:
            low = getattr(row, f"{quantity}_min_{unit}")
            if low is not None:
                extremes[f"{quantity}_{unit}"] = (
                    low,
                    getattr(row, f"{quantity}_min_at_s"),
                    getattr(row, f"{quantity}_max_{unit}"),
                    getattr(row, f"{quantity}_max_at_s"),
                )
        for name, four in (row.extended or {}).items():
            if four and four[0] is not None:
                extremes[name] = tuple(four)
        yield Atom(
            row.seq_first,
            row.seq_last,
            row.time_first_us,
            row.time_last_us,
            row.elapsed_first_s,
            row.elapsed_last_s,
            row.step_count_first,
            row.step_count_last,
            extremes,
        )


def _merge(atoms: list[Atom], buckets: int) -> Iterator[Atom | None]:
    """Merge neighbours into about ``buckets`` atoms; None stands where a gap is."""
    per_bucket = -(-len(atoms) // buckets)
    group: list[Atom] = []
    gaps = _gaps(atoms)
    for index, atom in enumerate(atoms):
        if index in gaps:
            yield _merged(group)
            yield None
            group = []
        elif len(group) >= per_bucket:
            yield _merged(group)
            group = []
        group.append(atom)
    if group:
        yield _merged(group)


def _gaps(atoms: list[Atom]) -> set[int]:
    """Return the indexes of atoms before which recording paused."""
    distances = [later.elapsed_first_s - earlier.elapsed_last_s for earlier, later in pairwise(atoms)]
    if not distances:
        return set()
    limit = max(GAP_S, GAP_TIMES * median(distances))
    return {index + 1 for index, distance in enumerate(distances) if distance > limit}


def _merged(group: list[Atom]) -> Atom:
    extremes: dict[str, tuple[float, float, float, float]] = {}
    for atom in group:
        for name, (low, low_at, high, high_at) in atom.extremes.items():
            kept = extremes.get(name)
            if kept is None:
                extremes[name] = (low, low_at, high, high_at)
                continue
            extremes[name] = (
                *((low, low_at) if low < kept[0] else kept[:2]),
                *((high, high_at) if high > kept[2] else kept[2:]),
            )
    a, z = group[0], group[-1]
    return Atom(
        a.seq_first,
        z.seq_last,
        a.time_first_us,
        z.time_last_us,
        a.elapsed_first_s,
        z.elapsed_last_s,
        a.step_count_first,
        z.step_count_last,
        extremes,
    )


def _draw(atoms: Iterable[Atom | None]) -> Columns:
    """Write atoms as columns: two rows each, one where both ends are the same sample."""
    drawn = list(atoms)
    names = list(DRAWN)
    names += [n for n in dict.fromkeys(n for a in drawn if a for n in a.extremes) if n not in DRAWN]
    columns: Columns = {name: [] for name in ("seq", "time_us", "elapsed_s", "step_count", *names)}
    for index, atom in enumerate(drawn):
        if atom is None:
            before, after = drawn[index - 1], drawn[index + 1]
            assert before is not None
            assert after is not None
            _append(columns, names, None, before.elapsed_last_s / 2 + after.elapsed_first_s / 2, {})
            continue
        low_first = {n: e[1] <= e[3] for n, e in atom.extremes.items()}
        start = {n: e[0] if low_first[n] else e[2] for n, e in atom.extremes.items()}
        end = {n: e[2] if low_first[n] else e[0] for n, e in atom.extremes.items()}
        head = (atom.seq_first, atom.time_first_us, atom.step_count_first)
        _append(columns, names, head, atom.elapsed_first_s, start)
        if atom.seq_last != atom.seq_first:
            _append(
                columns,
                names,
                (atom.seq_last, atom.time_last_us, atom.step_count_last),
                atom.elapsed_last_s,
                end,
            )
    return columns


def _append(
    columns: Columns,
    names: list[str],
    head: tuple[int, int, int] | None,
    elapsed_s: float,
    measured: dict[str, float],
) -> None:
    seq, time_us, step_count = head or (None, None, None)
    columns["seq"].append(seq)
    columns["time_us"].append(time_us)
    columns["elapsed_s"].append(elapsed_s)
    columns["step_count"].append(step_count)
    for name in names:
        columns[name].append(measured.get(name))
