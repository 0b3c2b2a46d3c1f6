"""Keep one row per cycle, up to date with every batch, whatever order batches come in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from django.db.models import Q

from web_server.measurements.models import CycleRow, Sample

COUNTERS = ("charge_in_ah", "charge_out_ah", "energy_in_wh", "energy_out_wh")
# Cycle column ← sample column.
_MINIMA = {"voltage_min_v": "voltage_v", "current_min_a": "current_a"}
_MAXIMA = {"voltage_max_v": "voltage_v", "current_max_a": "current_a", "temperature_max_c": "temperature_c"}


def add(experiment_id: int, rows: list[Sample]) -> None:
    """Merge new ``rows`` into their cycles; inside the caller's transaction.

    Cycle 0 is what comes before the first cycle group (steps.md) and has no row.
    """
    groups: dict[int, list[Sample]] = defaultdict(list)
    for row in rows:
        if row.cycle:
            groups[row.cycle].append(row)
    last_seq = rows[-1].seq
    touched = Q(cycle__in=list(groups)) | Q(seq_first=last_seq + 1)
    kept = {cycle.cycle: cycle for cycle in CycleRow.objects.filter(touched, experiment_id=experiment_id)}
    for number, group in groups.items():
        cycle = kept.setdefault(number, CycleRow(experiment_id=experiment_id, cycle=number))
        _merge(cycle, group)
    # The cycle that begins right after these rows counts from the last of them: it may have come first.
    for cycle in kept.values():
        _count(cycle)
        cycle.save()


def mark(experiment_id: int, number: int, tags: Iterable[str]) -> None:
    """Add ``tags`` of a step that ran in cycle ``number`` to that cycle's row, if it is there."""
    cycle = CycleRow.objects.filter(experiment_id=experiment_id, cycle=number).first()
    if cycle is not None and not set(tags) <= set(cycle.tags):
        cycle.tags = sorted({*cycle.tags, *tags})
        cycle.save(update_fields=["tags"])


def _merge(cycle: CycleRow, rows: list[Sample]) -> None:
    first, last = rows[0], rows[-1]
    if cycle.seq_first is None or first.seq < cycle.seq_first:
        cycle.seq_first, cycle.started_at = first.seq, _moment(first.time_us)
    if cycle.seq_last is None or last.seq > cycle.seq_last:
        cycle.seq_last, cycle.ended_at = last.seq, _moment(last.time_us)
    for column, quantity in _MINIMA.items():
        setattr(cycle, column, _best(min, getattr(cycle, column), rows, quantity))
    for column, quantity in _MAXIMA.items():
        setattr(cycle, column, _best(max, getattr(cycle, column), rows, quantity))


def _best(choose: Any, kept: float | None, rows: list[Sample], quantity: str) -> float | None:
    measured = [getattr(row, quantity) for row in rows]
    present = [value for value in [kept, *measured] if value is not None]
    return choose(present) if present else None


def _count(cycle: CycleRow) -> None:
    """Take the cycle's charge, energy and time from the counters at its ends.

    The counters of a sample run through the whole experiment, so a cycle's share is its last
    sample less the one before its first; lost batches in between change nothing.
    """
    ends = Sample.objects.filter(
        experiment_id=cycle.experiment_id,
        seq__in=[(cycle.seq_first or 1) - 1, cycle.seq_first, cycle.seq_last],
    )
    by_seq = {row.seq: row for row in ends}
    last, first = by_seq[cycle.seq_last], by_seq[cycle.seq_first]
    before = by_seq.get(first.seq - 1)
    begin = before or first
    for counter in COUNTERS:
        # The experiment's first row has no row before it; its counters began at zero.
        start = getattr(before, counter) if before else (0.0 if first.seq == 1 else getattr(first, counter))
        setattr(cycle, counter, max(0.0, getattr(last, counter) - start))
    cycle.duration_s = max(0.0, last.elapsed_s - begin.elapsed_s)


def _moment(time_us: int) -> datetime:
    return datetime.fromtimestamp(time_us / 1e6, tz=UTC)
