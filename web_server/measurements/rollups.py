"""Keep minima and maxima of samples at several widths, so that no chart reads raw rows by the million."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from django.db.models import Q

from web_server.measurements.models import ROLLUP_SIZES, Rollup, Sample

# Sample column → the rollup's columns (min, when, max, when).
QUANTITIES = {
    "voltage_v": ("voltage_min_v", "voltage_min_at_s", "voltage_max_v", "voltage_max_at_s"),
    "current_a": ("current_min_a", "current_min_at_s", "current_max_a", "current_max_at_s"),
    "power_w": ("power_min_w", "power_min_at_s", "power_max_w", "power_max_at_s"),
    "temperature_c": (
        "temperature_min_c",
        "temperature_min_at_s",
        "temperature_max_c",
        "temperature_max_at_s",
    ),
}


def add(experiment_id: int, rows: list[Sample]) -> None:
    """Merge new ``rows`` (each exactly once) into their buckets; inside the caller's transaction."""
    groups: dict[tuple[int, int], list[Sample]] = defaultdict(list)
    for row in rows:
        for level, size in enumerate(ROLLUP_SIZES):
            groups[level, (row.seq - 1) // size].append(row)
    kept = _kept(experiment_id, groups)
    changed = [_merged(kept.get(key), experiment_id, key, group) for key, group in groups.items()]
    Rollup.objects.bulk_create(
        [rollup for rollup in changed if (rollup.level, rollup.bucket) not in kept], batch_size=100
    )
    for rollup in changed:
        if (rollup.level, rollup.bucket) in kept:
            rollup.save(force_update=True)


def _kept(experiment_id: int, keys: Iterable[tuple[int, int]]) -> dict[tuple[int, int], Rollup]:
    buckets: dict[int, list[int]] = defaultdict(list)
    for level, bucket in keys:
        buckets[level].append(bucket)
    wanted = Q()
    for level, listed in buckets.items():
        wanted |= Q(level=level, bucket__gte=min(listed), bucket__lte=max(listed))
    found = Rollup.objects.filter(wanted, experiment_id=experiment_id)
    return {(rollup.level, rollup.bucket): rollup for rollup in found}


def _merged(rollup: Rollup | None, experiment_id: int, key: tuple[int, int], rows: list[Sample]) -> Rollup:
    level, bucket = key
    if rollup is None:
        rollup = Rollup(experiment_id=experiment_id, level=level, bucket=bucket, count=0)
    rollup.count += len(rows)
    _widen(rollup, rows[0], rows[-1])
    for row in rows:
        for quantity, columns in QUANTITIES.items():
            found = [getattr(rollup, column) for column in columns]
            if _extreme(found, getattr(row, quantity), row.elapsed_s):
                for column, value in zip(columns, found, strict=True):
                    setattr(rollup, column, value)
        if row.extended:
            _merge_extended(rollup, row)
    return rollup


def _widen(rollup: Rollup, first: Sample, last: Sample) -> None:
    """Let the bucket reach from ``first`` to ``last``; late rows may lie on either side."""
    if rollup.seq_first is None or first.seq < rollup.seq_first:
        rollup.seq_first, rollup.time_first_us = first.seq, first.time_us
        rollup.elapsed_first_s, rollup.step_count_first = first.elapsed_s, first.step_count
    if rollup.seq_last is None or last.seq > rollup.seq_last:
        rollup.seq_last, rollup.time_last_us = last.seq, last.time_us
        rollup.elapsed_last_s, rollup.step_count_last = last.elapsed_s, last.step_count


def _extreme(found: list[float | None], measured: float | None, at_s: float) -> bool:
    """Update ``found`` (min, when, max, when) in place; return whether it changed."""
    if measured is None:
        return False
    lower = found[0] is None or measured < found[0]
    higher = found[2] is None or measured > found[2]
    if lower:
        found[0:2] = [measured, at_s]
    if higher:
        found[2:4] = [measured, at_s]
    return lower or higher


def _merge_extended(rollup: Rollup, row: Sample) -> None:
    extended = dict(rollup.extended or {})
    for name, measured in row.extended.items():
        found = list(extended.get(name) or [None] * 4)
        if _extreme(found, measured, row.elapsed_s):
            extended[name] = found
    rollup.extended = extended
