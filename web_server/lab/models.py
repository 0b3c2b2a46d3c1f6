"""What the lab consists of: device models, units, devices, stations, and the managers that serve them."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone

from web_server.lib.entity import Entity


class DeviceModel(Entity):
    """A kind of device the catalogue knows (`wire.catalogue.Kind` as a row)."""

    key = models.CharField(max_length=100, unique=True)
    label = models.CharField(max_length=100)
    maker = models.CharField(max_length=100)
    model = models.CharField(max_length=100)
    type = models.CharField(max_length=16)
    family = models.CharField(max_length=50, blank=True)
    driver = models.CharField(max_length=200, blank=True)
    role = models.CharField(max_length=16)
    link = models.CharField(max_length=16)
    link_settings = models.JSONField(default=dict, blank=True)
    identity = models.CharField(max_length=250, blank=True)
    voltage_min_v = models.FloatField(null=True, blank=True)
    voltage_max_v = models.FloatField(null=True, blank=True)
    current_min_a = models.FloatField(null=True, blank=True)
    current_max_a = models.FloatField(null=True, blank=True)
    power_min_w = models.FloatField(null=True, blank=True)
    power_max_w = models.FloatField(null=True, blank=True)
    # [{name, unit, resolution, accuracy, accuracy_rel, ...}] as `wire.catalogue.KindMeasure`.
    measures = models.JSONField(default=list, blank=True)
    # [{name, label, unit, minimum, maximum, step, switch, safe, ...}] as `wire.catalogue.KindControl`.
    controls = models.JSONField(default=list, blank=True)
    # What detection sends on a text link to learn who is there.
    probe = models.CharField(max_length=40, blank=True, default="*IDN?")
    off = models.JSONField(null=True, blank=True)
    settings = models.JSONField(default=dict, blank=True)
    source = models.CharField(
        max_length=16,
        default="catalogue",
        choices=[
            ("catalogue", "Catalogue"),
            ("unit", "Reported by a unit"),
            ("operator", "Added on the site"),
        ],
    )

    class Meta:
        ordering = ["label"]
        constraints = [
            models.UniqueConstraint(
                fields=["label", "maker", "model", "type"], name="device_model_is_unique"
            ),
        ]

    def __str__(self) -> str:
        return self.label

    @property
    def measure_names(self) -> list[str]:
        """Names of what it measures."""
        return [measure["name"] for measure in self.measures]


# wire.md: a larger difference of the clocks is flagged.
SKEW_S = 2.0


class Unit(Entity):
    """A cycler computer running the agent."""

    name = models.CharField(max_length=100, unique=True)
    hostname = models.CharField(max_length=253, blank=True)
    hardware_id = models.CharField(max_length=128, unique=True)
    ip = models.CharField(max_length=45, blank=True)
    port = models.PositiveIntegerField(default=0)
    user = models.CharField(max_length=100, blank=True)
    version = models.CharField(max_length=40, blank=True)
    approved = models.BooleanField(default=False)
    approved_at = models.DateTimeField(null=True, blank=True)
    approved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    retired_at = models.DateTimeField(null=True, blank=True)
    # Last heard through the broker.
    online = models.BooleanField(default=False)
    connection = models.CharField(max_length=36, blank=True)
    boot_id = models.CharField(max_length=64, blank=True)
    last_seen = models.DateTimeField(null=True, blank=True)
    clock_skew_s = models.FloatField(null=True, blank=True)
    uptime_s = models.FloatField(null=True, blank=True)
    load = models.FloatField(null=True, blank=True)
    disk_free_bytes = models.BigIntegerField(null=True, blank=True)
    spool_batches = models.PositiveIntegerField(default=0)
    rejected_batches = models.PositiveIntegerField(default=0)
    dropped_messages = models.PositiveIntegerField(default=0)
    # [{link_name, answered, serial_number, link, since}]: who answered and is in no catalogue.
    unknown_devices = models.JSONField(default=list, blank=True)
    # The manager that owns it, taken and renewed by conditional UPDATE (wire.md).
    manager = models.CharField(max_length=64, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["name"]
        indexes = [
            # A manager looking for units without an owner, every few seconds.
            models.Index(fields=["lease_until"], name="unit_by_lease"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def clock_is_off(self) -> bool:
        """Whether its clock differs from the server's by more than wire.md lets pass."""
        return self.clock_skew_s is not None and abs(self.clock_skew_s) > SKEW_S

    @property
    def status(self) -> str:
        """pending, retired, online or offline."""
        if self.retired_at:
            return "retired"
        if not self.approved:
            return "pending"
        return "online" if self.online else "offline"


class EnrolToken(Entity):
    """A one-time secret with which a new unit is approved at once. Only its SHA-256 is kept."""

    note = models.CharField(max_length=100, blank=True)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    used_at = models.DateTimeField(null=True, blank=True)
    unit = models.ForeignKey(
        Unit, null=True, blank=True, on_delete=models.SET_NULL, related_name="enrol_tokens"
    )
    issued_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    # What to compose once the unit has reported its devices (see `lab.bench`); empty = nothing.
    plan = models.JSONField(default=dict, blank=True)
    plan_applied_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.note or str(self.uuid)


class Zone(Entity):
    """What stations share: interlocks, and outputs that act when one opens (safety.md rule 18)."""

    name = models.CharField(max_length=100, unique=True)
    description = models.TextField(blank=True)
    unit = models.ForeignKey(Unit, on_delete=models.PROTECT, related_name="zones")
    # [{name, device (uuid), measure, ok}] as `wire.messages.Interlock`.
    interlocks = models.JSONField(default=list, blank=True)
    # [{name, device (uuid), control, on_trip, normal, on_server_lost}] as `wire.messages.ZoneOutput`.
    outputs = models.JSONField(default=list, blank=True)
    # An interlock's reading older than this counts as open.
    max_age_s = models.FloatField(default=2.0, validators=[MinValueValidator(0.5), MaxValueValidator(60)])

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(max_age_s__gte=0.5, max_age_s__lte=60), name="zone_age_in_range"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Station(Entity):
    """Devices of one unit composed into one test channel, and what it is doing."""

    class State(models.TextChoices):
        """What a station is doing; offline when its unit is not heard."""

        OFFLINE = "offline"
        IDLE = "idle"
        MANUAL = "manual"
        RUNNING = "running"
        PAUSED = "paused"
        TRIPPED = "tripped"
        UNSAFE = "unsafe"

    class Quadrants(models.TextChoices):
        """Which way current may flow through the cell (rule 14)."""

        BOTH = "both"
        CHARGE = "charge"
        DISCHARGE = "discharge"

    name = models.CharField(max_length=100, unique=True)
    location = models.CharField(max_length=100, blank=True)
    # Null, not empty: unique where given.
    barcode = models.CharField(max_length=100, null=True, blank=True, unique=True)
    tags = models.JSONField(default=list, blank=True)
    description = models.TextField(blank=True)
    # Every station's page names what works with every computer off (safety.md).
    last_defence = models.CharField(max_length=250, blank=True)
    unit = models.ForeignKey(Unit, on_delete=models.PROTECT, related_name="stations")
    version = models.PositiveIntegerField(default=1)
    outputs = models.JSONField(default=list, blank=True)
    # `cycling.envelope.StationLimits` without measures and outputs.
    limits = models.JSONField(default=dict, blank=True)
    sensing = models.PositiveSmallIntegerField(default=4, choices=[(2, "two-wire"), (4, "four-wire")])
    loop_period_s = models.FloatField(
        default=0.1, validators=[MinValueValidator(0.01), MaxValueValidator(10)]
    )
    quadrants = models.CharField(max_length=9, choices=Quadrants.choices, default=Quadrants.BOTH)
    # Measured at rest (safety.md rule 17).
    leak_a = models.FloatField(null=True, blank=True)
    # Name of the output that opens when it is not refreshed for 5 s (rule 3).
    dead_man = models.CharField(max_length=60, blank=True)
    # Without own bounds and without a dead man nothing larger runs here in that direction (rule 3).
    unguarded_max_wh = models.FloatField(default=5.0)
    # The largest battery and EUCAR level that may be put here (rule 21); null = not limited.
    max_energy_wh = models.FloatField(null=True, blank=True)
    max_hazard_level = models.PositiveSmallIntegerField(null=True, blank=True)
    zone = models.ForeignKey(Zone, null=True, blank=True, on_delete=models.PROTECT, related_name="stations")
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    retired_at = models.DateTimeField(null=True, blank=True)

    # Mirrored from the unit's heartbeats.
    state = models.CharField(max_length=8, choices=State.choices, default=State.OFFLINE)
    state_detail = models.CharField(max_length=250, blank=True)
    # The version that the unit has; it is configured again whenever this differs.
    unit_version = models.PositiveIntegerField(null=True, blank=True)
    # {voltage_v, current_a, temperature_c}; null = never read.
    reading = models.JSONField(null=True, blank=True)
    reading_at = models.DateTimeField(null=True, blank=True)
    # The alarm whose latch holds the station (UUID of the alarm); the unit's word.
    latched_alarm = models.UUIDField(null=True, blank=True)
    # The manual lease that holds it, and what its outputs are set to; the unit's word.
    lease = models.CharField(max_length=36, blank=True)
    output_values = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(condition=models.Q(sensing__in=[2, 4]), name="station_sensing_is_2_or_4"),
            models.CheckConstraint(
                condition=models.Q(loop_period_s__gte=0.01, loop_period_s__lte=10),
                name="station_loop_period_in_range",
            ),
            models.CheckConstraint(
                condition=models.Q(quadrants__in=["both", "charge", "discharge"]),
                name="station_quadrants_are_known",
            ),
            models.CheckConstraint(
                condition=models.Q(max_hazard_level__lte=7), name="station_hazard_level_is_eucar"
            ),
        ]
        indexes = [
            # The event stream and Monitor: what changed since?
            models.Index(fields=["updated_at"], name="station_by_change"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def experiment(self) -> Any:
        """The experiment that holds this station now, or None."""
        return getattr(self, "active_experiment", None)

    @property
    def loaded_battery(self) -> Any:
        """The battery recorded as loaded here, or None."""
        return getattr(self, "battery", None)

    @property
    def parent(self) -> StationVersion | None:
        """The version before the present one."""
        return self.versions.filter(number=self.version - 1).first()


class StationVersion(models.Model):
    """A station as it was composed at one time; the one before is its ``parent``. Never changed."""

    station = models.ForeignKey(Station, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    parent = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="children"
    )
    # The whole composition as JSON text: devices, measures, outputs, limits, sensing.
    definition = models.TextField()
    made_at = models.DateTimeField(default=timezone.now)
    made_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )

    class Meta:
        ordering = ["station", "-number"]
        constraints = [
            models.UniqueConstraint(fields=["station", "number"], name="station_version_is_unique"),
        ]

    def __str__(self) -> str:
        return f"{self.station} v{self.number}"


class Device(Entity):
    """A device that a unit found."""

    unit = models.ForeignKey(Unit, on_delete=models.PROTECT, related_name="devices")
    model = models.ForeignKey(DeviceModel, on_delete=models.PROTECT, related_name="devices")
    serial_number = models.CharField(max_length=100, blank=True)
    link_name = models.CharField(max_length=200, blank=True)
    # What makes it the same device tomorrow: see `identity_of`.
    identity = models.CharField(max_length=320, editable=False)
    # JSON text: goes back to the unit as it came.
    link = models.TextField(default="{}")
    connected = models.BooleanField(default=False)
    detail = models.CharField(max_length=250, blank=True)
    first_seen = models.DateTimeField(default=timezone.now)
    last_seen = models.DateTimeField(default=timezone.now)
    # Since when a scan does not find it any more.
    gone_since = models.DateTimeField(null=True, blank=True)
    # How often its readings are recorded while nothing runs; null = every 10 s.
    record_every_s = models.FloatField(
        null=True, blank=True, validators=[MinValueValidator(1), MaxValueValidator(3600)]
    )
    # One device in one station: the column can hold only one.
    station = models.ForeignKey(
        Station, null=True, blank=True, on_delete=models.SET_NULL, related_name="used_devices"
    )
    # ... or in one zone.
    zone = models.ForeignKey(
        Zone, null=True, blank=True, on_delete=models.SET_NULL, related_name="used_devices"
    )

    class Meta:
        ordering = ["unit", "model", "serial_number"]
        constraints = [
            models.UniqueConstraint(fields=["unit", "identity"], name="device_is_unique_on_its_unit"),
        ]

    def __str__(self) -> str:
        return f"{self.model} {self.serial_number or self.link_name}"

    @staticmethod
    def identity_of(model_key: str, serial_number: str, link_name: str) -> str:
        """Return what makes a device the same one again: its serial number, else its link."""
        return f"{model_key}/{serial_number}" if serial_number else f"{model_key}@{link_name}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Derive the identity."""
        self.identity = self.identity_of(self.model.key, self.serial_number, self.link_name)
        super().save(*args, **kwargs)

    @property
    def link_settings(self) -> dict[str, Any]:
        """The link as a dict."""
        return dict(json.loads(self.link or "{}"))


class StationDevice(models.Model):
    """A device's role in a station's present composition."""

    class Role(models.TextChoices):
        """What a device does in a station."""

        POWER = "power"
        METER = "meter"
        BMS = "bms"
        FLOW = "flow"
        ISOLATOR = "isolator"
        AUXILIARY = "auxiliary"

    station = models.ForeignKey(Station, on_delete=models.CASCADE, related_name="devices")
    device = models.OneToOneField(Device, on_delete=models.PROTECT, related_name="use")
    role = models.CharField(max_length=16, choices=Role.choices)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.device} as {self.role}"


class StationMeasure(models.Model):
    """A measure of a device under the name that the station gives it."""

    station = models.ForeignKey(Station, on_delete=models.CASCADE, related_name="measures")
    device = models.ForeignKey(Device, on_delete=models.PROTECT, related_name="+")
    measure = models.CharField(max_length=60)
    name = models.CharField(max_length=60)
    unit_of_measure = models.CharField(max_length=20, blank=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["station", "name"], name="station_measure_name_is_unique"),
        ]

    def __str__(self) -> str:
        return self.name


class Hold(models.Model):
    """Who has taken a device or a station by hand, as its unit confirmed it last (safety.md rule 20).

    The unit's lease is the truth and ends by itself; this row lets a second person see who holds it.
    """

    device = models.OneToOneField(
        Device, null=True, blank=True, on_delete=models.CASCADE, related_name="hold"
    )
    station = models.OneToOneField(
        Station, null=True, blank=True, on_delete=models.CASCADE, related_name="hold"
    )
    lease = models.UUIDField(unique=True)
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    person_name = models.CharField(max_length=150)
    # What is connected: "battery" or "other", and the terms it was taken on.
    terms = models.JSONField(default=dict)
    taken_at = models.DateTimeField(default=timezone.now)
    until = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(device__isnull=True, station__isnull=False)
                | models.Q(device__isnull=False, station__isnull=True),
                name="hold_is_of_one_thing",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.station or self.device} by {self.person_name}"

    @property
    def lasts(self) -> bool:
        """Whether the lease still runs, as far as the site has heard."""
        return self.until > timezone.now()


class ManagerBeat(models.Model):
    """A manager process saying that it lives; ``/readyz`` reads the newest."""

    manager = models.CharField(max_length=64, unique=True)
    hostname = models.CharField(max_length=253, blank=True)
    pid = models.PositiveIntegerField(default=0)
    version = models.CharField(max_length=40, blank=True)
    started_at = models.DateTimeField(default=timezone.now)
    seen_at = models.DateTimeField(default=timezone.now)
    broker_connected = models.BooleanField(default=False)
    units = models.PositiveIntegerField(default=0)
    # {malformed: n, ...}: what it dropped, shown to operators (wire.md).
    counters = models.JSONField(default=dict, blank=True)

    class Meta:
        verbose_name = "manager process"
        verbose_name_plural = "manager processes"
        indexes = [
            # /readyz: how old is the newest?
            models.Index(fields=["seen_at"], name="manager_by_age"),
        ]

    def __str__(self) -> str:
        return self.manager
