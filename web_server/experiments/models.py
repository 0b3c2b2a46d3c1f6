"""Experiments, and what happened in them: steps, events, alarms."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models
from django.utils import timezone

from cycling.waiting import OPERATOR
from web_server.cells.models import Battery
from web_server.lab.models import Station, Unit
from web_server.lib.entity import Entity
from web_server.profiles.models import ProfileVersion


class Status(models.TextChoices):
    """Where an experiment stands; `experiments.states` says which may follow which."""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    FINISHED = "finished"
    STOPPED = "stopped"
    ERROR = "error"
    CANCELLED = "cancelled"


FINAL = (Status.FINISHED, Status.STOPPED, Status.ERROR, Status.CANCELLED)
ACTIVE = (Status.STARTING, Status.RUNNING, Status.PAUSED)


class Experiment(Entity):
    """One run of one profile on one battery on one station."""

    name = models.CharField(max_length=100)
    description = models.TextField(blank=True)
    battery = models.ForeignKey(Battery, on_delete=models.PROTECT, related_name="experiments")
    profile_version = models.ForeignKey(ProfileVersion, on_delete=models.PROTECT, related_name="experiments")
    # Either a station is named, or a query picks a fitting one when it starts.
    station = models.ForeignKey(
        Station, null=True, blank=True, on_delete=models.PROTECT, related_name="experiments"
    )
    station_query = models.JSONField(null=True, blank=True)
    # "I have put the battery in": recorded as loaded when filed.
    load = models.BooleanField(default=False)
    # A person looked at the battery's voltage: the wiring check takes it as it is (safety.md rule 4).
    rest_voltage_confirmed = models.BooleanField(default=False)
    # Why it may run without a sensor at the cell though the battery holds more than 20 Wh (rule 16).
    temperature_waiver = models.CharField(max_length=500, blank=True)
    temperature_waived_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    initial_soc_percent = models.FloatField(null=True, blank=True)
    # Redox stacks: {polarity, volume_ml, initial_soc_percent, flow_min_ml_min, flow_max_ml_min}.
    electrolyte = models.JSONField(null=True, blank=True)
    priority = models.IntegerField(default=0)
    # Overrides the profile's recording rule; null = the profile's own.
    record = models.JSONField(null=True, blank=True)
    contact_policy = models.CharField(
        max_length=16,
        default="continue",
        choices=[("continue", "Go on"), ("finish_step", "Finish the step"), ("off", "Switch off")],
    )
    off_after_s = models.FloatField(null=True, blank=True)
    resume_policy = models.CharField(
        max_length=8, default="hold", choices=[("hold", "Hold"), ("resume", "Resume")]
    )
    resume_within_s = models.FloatField(default=3600.0)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="experiments"
    )
    project = models.CharField(max_length=100, blank=True)
    tags = models.JSONField(default=list, blank=True)
    # The experiment of which this one is a copy (requeue).
    origin = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.SET_NULL, related_name="copies"
    )

    # Whoever sends the same request again, by a double click or after a lost answer, gets this row.
    request_id = models.UUIDField(null=True, blank=True)
    # Not started before this: the batch that it came with starts one after the other.
    not_before = models.DateTimeField(null=True, blank=True)

    # Changed by `experiments.services.set_status` alone.
    status = models.CharField(max_length=9, choices=Status.choices, default=Status.QUEUED)
    queued_because = models.CharField(max_length=250, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    end_reason = models.JSONField(null=True, blank=True)
    error = models.TextField(blank=True)
    # Filled only while starting, running or paused, so that each can be in one experiment only.
    active_station = models.OneToOneField(
        Station, null=True, blank=True, on_delete=models.PROTECT, related_name="active_experiment"
    )
    active_battery = models.OneToOneField(
        Battery, null=True, blank=True, on_delete=models.PROTECT, related_name="active_experiment"
    )

    # Frozen when it starts: the contract's very text (never a JSON column) and its hash.
    station_version = models.PositiveIntegerField(null=True, blank=True)
    capacity_ah = models.FloatField(null=True, blank=True)
    envelope = models.TextField(blank=True)
    envelope_sha256 = models.CharField(max_length=64, blank=True)

    # Mirrored from the unit.
    step = models.PositiveIntegerField(null=True, blank=True)
    steps = models.PositiveIntegerField(null=True, blank=True)
    cycle = models.PositiveIntegerField(default=0)
    percent = models.FloatField(null=True, blank=True)
    expected_end = models.DateTimeField(null=True, blank=True)
    # The end as it was expected first: what is late is late against this.
    planned_end = models.DateTimeField(null=True, blank=True)
    waiting_for = models.CharField(max_length=250, blank=True)
    # Samples: how many are stored, and the unit's own last number, known at the end.
    sample_count = models.BigIntegerField(default=0)
    last_seq = models.BigIntegerField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(status__in=Status.values), name="experiment_status_is_known"
            ),
            models.UniqueConstraint(fields=["request_id", "battery"], name="experiment_is_filed_once"),
        ]
        indexes = [
            # The queue of a station: priority, then first come.
            models.Index(fields=["status", "-priority", "id"], name="experiment_queue"),
            # The event stream: what changed since?
            models.Index(fields=["updated_at"], name="experiment_by_change"),
            # The list, newest first, by default.
            models.Index(fields=["created_at"], name="experiment_by_age"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def profile(self) -> Any:
        """The profile, whatever its version."""
        return self.profile_version.profile

    @property
    def is_final(self) -> bool:
        """Whether nothing will change any more."""
        return self.status in FINAL

    @property
    def is_active(self) -> bool:
        """Whether it holds its station."""
        return self.status in ACTIVE

    @property
    def is_complete(self) -> bool:
        """Whether it is final and every sample up to its last is stored."""
        return self.is_final and self.sample_count >= (self.last_seq or 0)

    @property
    def asked_of_somebody(self) -> str:
        """What its running step asks a person to do; empty when it waits for nobody.

        A temperature, a time or a wiring check is waited for too, but comes by itself.
        """
        return self.waiting_for.partition(OPERATOR)[2] if self.status == Status.RUNNING else ""

    @property
    def progress(self) -> dict[str, Any]:
        """Step n of N, cycle, percent and expected end, as the API gives them."""
        return {
            "step": self.step,
            "steps": self.steps,
            "cycle": self.cycle,
            "percent": self.percent,
            "expected_end": self.expected_end,
        }


class StepRow(models.Model):
    """One step as it was run (`cycling.reading.StepRow`); the key is the entry, not the step."""

    experiment = models.ForeignKey(Experiment, on_delete=models.CASCADE, related_name="step_rows")
    step = models.PositiveIntegerField()
    step_count = models.PositiveIntegerField()
    label = models.CharField(max_length=100, blank=True)
    tags = models.JSONField(default=list, blank=True)
    cycle = models.PositiveIntegerField()
    mode = models.CharField(max_length=8)
    started_at = models.DateTimeField()
    duration_s = models.FloatField()
    voltage_start_v = models.FloatField(null=True)
    voltage_end_v = models.FloatField(null=True)
    current_end_a = models.FloatField(null=True)
    charge_in_ah = models.FloatField()
    charge_out_ah = models.FloatField()
    energy_in_wh = models.FloatField()
    energy_out_wh = models.FloatField()
    temperature_max_c = models.FloatField(null=True)
    dcir = models.JSONField(default=list, blank=True)
    end_reason = models.JSONField(null=True)
    flags = models.IntegerField(default=0)

    class Meta:
        ordering = ["experiment", "step_count"]
        constraints = [
            models.UniqueConstraint(fields=["experiment", "step_count"], name="step_row_is_unique"),
        ]

    def __str__(self) -> str:
        return f"step {self.step} ({self.mode})"


class Event(models.Model):
    """Something that happened. ``id`` is the API's ``seq``: it rises, with gaps."""

    class Kind(models.TextChoices):
        """As on the wire."""

        STATUS = "status"
        STEP = "step"
        ALARM = "alarm"
        DEVICE = "device"
        NOTE = "note"
        BLACK_BOX = "black_box"

    experiment = models.ForeignKey(
        Experiment, null=True, blank=True, on_delete=models.CASCADE, related_name="events"
    )
    station = models.ForeignKey(
        Station, null=True, blank=True, on_delete=models.CASCADE, related_name="events"
    )
    unit = models.ForeignKey(Unit, null=True, blank=True, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField(default=timezone.now)
    kind = models.CharField(max_length=16, choices=Kind.choices)
    text = models.TextField()
    step = models.PositiveIntegerField(null=True, blank=True)
    detail = models.JSONField(default=dict, blank=True)
    # Where the unit kept it; null for events of the site. A repeated batch finds its rows again.
    spool = models.UUIDField(null=True, blank=True)
    spool_seq = models.BigIntegerField(null=True, blank=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["unit", "spool", "spool_seq"], name="event_is_stored_once"),
        ]
        indexes = [
            # An experiment's events since a number: its page and the event stream.
            models.Index(fields=["experiment", "id"], name="event_by_experiment"),
        ]

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


class BlackBox(models.Model):
    """A part of what a unit's black box held when it tripped: readings and device exchanges.

    Apart from the events: a part is up to 200 kB, and the pages list events by the hundred.
    """

    # The alarm's UUID, not its row: parts may come before it, and a stop has none.
    alarm = models.UUIDField(null=True, blank=True)
    experiment = models.ForeignKey(
        Experiment, null=True, blank=True, on_delete=models.CASCADE, related_name="black_boxes"
    )
    station = models.ForeignKey(
        Station, null=True, blank=True, on_delete=models.CASCADE, related_name="black_boxes"
    )
    unit = models.ForeignKey(Unit, on_delete=models.CASCADE, related_name="black_boxes")
    at = models.DateTimeField(default=timezone.now)
    part = models.PositiveIntegerField(default=1)
    parts = models.PositiveIntegerField(default=1)
    text = models.TextField(blank=True)
    # {exchanges: [{device, at, to, text}], readings: {column: [...]}} as JSON text, as it came.
    body = models.TextField(default="{}")
    spool = models.UUIDField()
    spool_seq = models.BigIntegerField()

    class Meta:
        ordering = ["id"]
        verbose_name_plural = "black boxes"
        constraints = [
            models.UniqueConstraint(fields=["unit", "spool", "spool_seq"], name="black_box_is_stored_once"),
        ]
        indexes = [
            # The alarm's page and its download.
            models.Index(fields=["alarm", "part"], name="black_box_by_alarm"),
        ]

    def __str__(self) -> str:
        return f"black box {self.alarm}, part {self.part} of {self.parts}"


class Alarm(Entity):
    """Something a person must see. The unit's latch is the truth, this row its mirror."""

    class State(models.TextChoices):
        """``acknowledged`` only when the unit said so."""

        RAISED = "raised"
        ACKNOWLEDGED = "acknowledged"
        CLEARED = "cleared"

    class Severity(models.TextChoices):
        """What it asks for."""

        WARNING = "warning"
        TRIP = "trip"
        UNSAFE = "unsafe"

    experiment = models.ForeignKey(
        Experiment, null=True, blank=True, on_delete=models.SET_NULL, related_name="alarms"
    )
    station = models.ForeignKey(
        Station, null=True, blank=True, on_delete=models.SET_NULL, related_name="alarms"
    )
    unit = models.ForeignKey(Unit, null=True, blank=True, on_delete=models.SET_NULL, related_name="alarms")
    raised_at = models.DateTimeField(default=timezone.now)
    severity = models.CharField(max_length=8, choices=Severity.choices, default=Severity.TRIP)
    code = models.CharField(max_length=60)
    text = models.TextField()
    quantity = models.CharField(max_length=60, blank=True)
    # Both in the quantity's SI unit.
    limit = models.FloatField(null=True, blank=True)
    measured = models.FloatField(null=True, blank=True)
    state = models.CharField(max_length=12, choices=State.choices, default=State.RAISED)
    # Who asked, and that the unit released the latch, are two things.
    acknowledge_asked_at = models.DateTimeField(null=True, blank=True)
    # Why the unit did not release the latch when it was asked last; empty while it may still do so.
    acknowledge_refused = models.CharField(max_length=250, blank=True, default="")
    acknowledged_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    cleared_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(state__in=["raised", "acknowledged", "cleared"]),
                name="alarm_state_is_known",
            ),
        ]
        indexes = [
            # Monitor and the Alarms page: those still raised, newest first.
            models.Index(fields=["state", "id"], name="alarm_by_state"),
            # The event stream: what changed since?
            models.Index(fields=["updated_at"], name="alarm_by_change"),
        ]

    def __str__(self) -> str:
        return f"{self.code}: {self.text}"
