"""Store what units measured: validated, once, with rollups and cycles in the same transaction.

1. `validated` refuses what can never be stored, with the reason that goes back to the unit.
2. `store` locks the experiment, leaves out rows that are there already, inserts the rest, updates
   rollups, cycles and progress, and commits. Only then may the caller acknowledge.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from django.db import connection
from django.utils import timezone

from web_server.experiments import progress
from web_server.experiments.models import Experiment
from web_server.experiments.sent_to import ran_on
from web_server.lab.models import Unit
from web_server.lib.transactions import atomic
from web_server.measurements import cycles, rollups
from web_server.measurements.models import Sample
from wire.messages import SampleBatch

# A transaction on SQLite must stay under 50 ms, or web requests wait for it.
CHUNK = 500
# The unit sends at most 500 rows; room for others, yet one message cannot keep a manager busy.
ROWS_MAX = 10_000
EXTENDED_MAX = 200
NAME_MAX = 60

# Beyond any quantity of any lab, and far inside what a double holds exactly.
Number = Annotated[float, msgspec.Meta(ge=-1e12, le=1e12)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
Counter = Annotated[float, msgspec.Meta(ge=0, le=1e12)]
# 2001-09-09 to 2255: a clock that was never set is told apart from a measurement.
TimeUs = Annotated[int, msgspec.Meta(ge=10**15, le=9 * 10**15)]


class Columns(msgspec.Struct, kw_only=True):
    """The columns that every batch has (wire.md); extended measures come beside them."""

    time_us: list[TimeUs]
    elapsed_s: list[Counter]
    step: list[Count]
    step_count: list[Count]
    cycle: list[Count]
    mode: list[Literal["rest", "cc", "cv", "cp", "cr", "drive", "scan", "wait", "off"]]
    voltage_v: list[Number | None]
    current_a: list[Number | None]
    power_w: list[Number | None]
    temperature_c: list[Number | None]
    charge_in_ah: list[Counter]
    charge_out_ah: list[Counter]
    energy_in_wh: list[Counter]
    energy_out_wh: list[Counter]
    flags: list[Count]


NAMES = Columns.__struct_fields__
_INSERT = (
    f"INSERT INTO {Sample._meta.db_table} (experiment_id, seq, {', '.join(NAMES)}, extended)"
    f" VALUES ({', '.join(['%s'] * (len(NAMES) + 3))})"
)


class Rejected(Exception):
    """A batch that can never be stored; ``reason`` goes back to the unit, which keeps the batch."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def store(unit: Unit, batch: SampleBatch) -> int:
    """Store a batch that ``unit`` sent; return how many rows were new.

    Raises:
        Rejected: for a reason that cannot pass by itself.
        django.db.Error: for one that can; the caller tries again.
    """
    rows = validated(batch)
    experiment = _experiment(unit, batch.experiment)
    return sum(_store(experiment, rows[at : at + CHUNK]) for at in range(0, len(rows), CHUNK))


def validated(batch: SampleBatch) -> list[Sample]:
    """Return the batch as rows without an experiment; raises `Rejected`."""
    if not 1 <= batch.count <= ROWS_MAX:
        raise Rejected(f"{batch.count} rows; a batch has 1 to {ROWS_MAX}")
    if not 1 <= batch.first_seq <= 2**62:
        raise Rejected(f"first_seq is {batch.first_seq}; seq runs from 1")
    given = {name: batch.columns.get(name, [None] * batch.count) for name in ("power_w", "temperature_c")}
    try:
        columns = msgspec.convert({**given, **batch.columns}, Columns)
    except msgspec.ValidationError as error:
        raise Rejected(f"a value cannot be stored: {error}") from None
    extended = _extended(batch.columns)
    listed = [getattr(columns, name) for name in NAMES]
    if any(len(column) != batch.count for column in [*listed, *extended.values()]):
        raise Rejected(f"the columns do not all have {batch.count} rows")
    return [
        Sample(
            seq=batch.first_seq + at,
            extended={name: column[at] for name, column in extended.items()} or None,
            **dict(zip(NAMES, values, strict=True)),
        )
        for at, values in enumerate(zip(*listed, strict=True))
    ]


def _extended(columns: dict[str, list[Any]]) -> dict[str, list[float | None]]:
    extended = {name: column for name, column in columns.items() if name not in NAMES}
    if len(extended) > EXTENDED_MAX:
        raise Rejected(f"{len(extended)} extended measures; at most {EXTENDED_MAX}")
    for name in extended:
        if not name or len(name) > NAME_MAX or not name.isprintable():
            raise Rejected(f"a measure's name has 1 to {NAME_MAX} printable characters")
    try:
        return msgspec.convert(extended, dict[str, list[Number | None]])
    except msgspec.ValidationError as error:
        raise Rejected(f"an extended measure cannot be stored: {error}") from None


def _experiment(unit: Unit, experiment: str) -> Experiment:
    try:
        row = Experiment.objects.select_related("station").filter(uuid=UUID(experiment)).first()
    except ValueError:
        raise Rejected("the experiment's id is no UUID") from None
    # The same words for both: a unit learns nothing about experiments of others.
    if row is None or not ran_on(row, unit):
        raise Rejected("unknown experiment")
    return row


@atomic
def _store(experiment: Experiment, rows: list[Sample]) -> int:
    # 1. One writer per experiment: rollups and counters are read, merged and written.
    locked = Experiment.objects.select_for_update().get(pk=experiment.pk)
    # 2. Leave out what is there: the unit sends a batch again when its acknowledgement got lost.
    known = set(
        Sample.objects.filter(
            experiment_id=locked.pk, seq__gte=rows[0].seq, seq__lte=rows[-1].seq
        ).values_list("seq", flat=True)
    )
    new = [row for row in rows if row.seq not in known]
    if not new:
        return 0
    # 3. Insert, then everything that follows from the rows.
    _insert(locked.pk, new)
    rollups.add(locked.pk, new)
    cycles.add(locked.pk, new)
    _advance(locked, new)
    return len(new)


def _insert(experiment_id: int, rows: list[Sample]) -> None:
    """Insert ``rows``; a row that is there stays as it is.

    Never INSERT IGNORE (which ``bulk_create(ignore_conflicts=True)`` writes): on MySQL it also
    clips numbers out of range instead of refusing them.
    """
    again = " ON DUPLICATE KEY UPDATE seq=seq" if connection.vendor == "mysql" else " ON CONFLICT DO NOTHING"
    with connection.cursor() as cursor:
        cursor.executemany(_INSERT + again, [_values(experiment_id, row) for row in rows])


def _values(experiment_id: int, row: Sample) -> tuple[Any, ...]:
    extended = json.dumps(row.extended) if row.extended is not None else None
    return (experiment_id, row.seq, *(getattr(row, name) for name in NAMES), extended)


def _advance(experiment: Experiment, new: list[Sample]) -> None:
    """Count the rows and follow step and cycle, which a late batch does not turn back."""
    last = new[-1]
    changed: dict[str, Any] = {}
    if not Sample.objects.filter(experiment_id=experiment.pk, seq__gt=last.seq).exists():
        changed = progress.columns(experiment, last.step, last.step_count, last.cycle)
    if experiment.is_final:
        # A final status keeps its percentage; what may still change is whether all rows are there.
        changed.pop("percent", None)
    if changed or experiment.is_final:
        # Pages follow an experiment by `updated_at`; samples alone reach them as samples.
        changed["updated_at"] = timezone.now()
    changed["sample_count"] = experiment.sample_count + len(new)
    Experiment.objects.filter(pk=experiment.pk).update(**changed)
