"""Samples, and what charts and tables read instead of millions of them."""

from __future__ import annotations

from django.db import models

from web_server.experiments.models import Experiment
from web_server.lab.models import Device, Unit

# Samples in one rollup row, by level. Eight finer rows make a coarser one; a chart takes the level
# that gives it some hundreds to some thousands of rows, whatever the length of the experiment.
ROLLUP_SIZES = (64, 512, 4096, 32768)


class Sample(models.Model):
    """One row of measurement. Its key clusters an experiment's rows in their order.

    No foreign key constraint: MySQL's partitions (`sql/`) forbid it.
    """

    pk = models.CompositePrimaryKey("experiment_id", "seq")
    experiment = models.ForeignKey(
        Experiment, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="samples"
    )
    seq = models.BigIntegerField()
    # UTC, microseconds.
    time_us = models.BigIntegerField()
    elapsed_s = models.FloatField()
    step = models.PositiveIntegerField()
    step_count = models.PositiveIntegerField()
    cycle = models.PositiveIntegerField()
    mode = models.CharField(max_length=8)
    # Null is missing, never zero.
    voltage_v = models.FloatField(null=True)
    current_a = models.FloatField(null=True)
    power_w = models.FloatField(null=True)
    temperature_c = models.FloatField(null=True)
    charge_in_ah = models.FloatField()
    charge_out_ah = models.FloatField()
    energy_in_wh = models.FloatField()
    energy_out_wh = models.FloatField()
    flags = models.IntegerField(default=0)
    # {name: number or null}, as the station names them.
    extended = models.JSONField(null=True)

    def __str__(self) -> str:
        return f"sample {self.seq}"


class Rollup(models.Model):
    """Minima and maxima, with when they were, of ``ROLLUP_SIZES[level]`` samples.

    Bucket b holds ``seq`` b × size + 1 to (b + 1) × size. Drawn at its minimum and its maximum, a
    bucket shows every spike of the samples behind it.
    """

    pk = models.CompositePrimaryKey("experiment_id", "level", "bucket")
    experiment = models.ForeignKey(
        Experiment, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="rollups"
    )
    level = models.PositiveSmallIntegerField()
    bucket = models.BigIntegerField()
    # Samples in it so far.
    count = models.PositiveIntegerField()
    seq_first = models.BigIntegerField()
    seq_last = models.BigIntegerField()
    time_first_us = models.BigIntegerField()
    time_last_us = models.BigIntegerField()
    elapsed_first_s = models.FloatField()
    elapsed_last_s = models.FloatField()
    step_count_first = models.PositiveIntegerField()
    step_count_last = models.PositiveIntegerField()
    voltage_min_v = models.FloatField(null=True)
    voltage_min_at_s = models.FloatField(null=True)
    voltage_max_v = models.FloatField(null=True)
    voltage_max_at_s = models.FloatField(null=True)
    current_min_a = models.FloatField(null=True)
    current_min_at_s = models.FloatField(null=True)
    current_max_a = models.FloatField(null=True)
    current_max_at_s = models.FloatField(null=True)
    power_min_w = models.FloatField(null=True)
    power_min_at_s = models.FloatField(null=True)
    power_max_w = models.FloatField(null=True)
    power_max_at_s = models.FloatField(null=True)
    temperature_min_c = models.FloatField(null=True)
    temperature_min_at_s = models.FloatField(null=True)
    temperature_max_c = models.FloatField(null=True)
    temperature_max_at_s = models.FloatField(null=True)
    # {name: [min, min_at_s, max, max_at_s]}.
    extended = models.JSONField(null=True)

    def __str__(self) -> str:
        return f"rollup {self.level}/{self.bucket}"


class CycleRow(models.Model):
    """One cycle of an experiment."""

    experiment = models.ForeignKey(Experiment, on_delete=models.CASCADE, related_name="cycle_rows")
    cycle = models.PositiveIntegerField()
    tags = models.JSONField(default=list, blank=True)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField()
    duration_s = models.FloatField()
    seq_first = models.BigIntegerField(null=True)
    seq_last = models.BigIntegerField(null=True)
    charge_in_ah = models.FloatField(default=0)
    charge_out_ah = models.FloatField(default=0)
    energy_in_wh = models.FloatField(default=0)
    energy_out_wh = models.FloatField(default=0)
    voltage_min_v = models.FloatField(null=True)
    voltage_max_v = models.FloatField(null=True)
    current_min_a = models.FloatField(null=True)
    current_max_a = models.FloatField(null=True)
    temperature_max_c = models.FloatField(null=True)

    class Meta:
        ordering = ["experiment", "cycle"]
        constraints = [
            models.UniqueConstraint(fields=["experiment", "cycle"], name="cycle_row_is_unique"),
        ]

    def __str__(self) -> str:
        return f"cycle {self.cycle}"

    @property
    def coulombic_efficiency(self) -> float | None:
        """Charge out over charge in; None while one of them is missing, which is no efficiency of 0."""
        return self.charge_out_ah / self.charge_in_ah if self.charge_in_ah and self.charge_out_ah else None

    @property
    def energy_efficiency(self) -> float | None:
        """Energy out over energy in; None while one of them is missing."""
        return self.energy_out_wh / self.energy_in_wh if self.energy_in_wh and self.energy_out_wh else None


class DeviceReading(models.Model):
    """What a device that runs no experiment was read at, every period; the unit's own time.

    ``device`` is null where the unit names a device that the site does not know: the number of the
    event is taken all the same.
    """

    device = models.ForeignKey(Device, null=True, on_delete=models.CASCADE, related_name="readings")
    at = models.DateTimeField()
    # {measure: number or null}, as the catalogue names them.
    values = models.JSONField(default=dict)
    # Where it came from: a batch that comes again finds its rows.
    unit = models.ForeignKey(Unit, on_delete=models.CASCADE, related_name="+")
    spool = models.UUIDField()
    spool_seq = models.BigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["unit", "spool", "spool_seq"], name="device_reading_is_stored_once"
            ),
        ]
        indexes = [
            # The history of one device, and its newest reading.
            models.Index(fields=["device", "at"], name="device_reading_history"),
        ]

    def __str__(self) -> str:
        return f"{self.device} at {self.at}"
