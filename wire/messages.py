"""Every message that crosses the broker, defined once (design: wire.md).

One definition serves encoding, decoding, validation and the AsyncAPI page. Unknown fields are
ignored so that older and newer parts can meet; a missing required one is an error.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

MAX_BYTES = 1_048_576
# Refused at filing (wire.md): leaves room for the command around it below MAX_BYTES.
MAX_START_BYTES = 900_000


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of all messages."""


class RegisterAsk(Message, frozen=True, kw_only=True):
    """Unit asks to be known; ``token`` is one-time, ``password`` is the unit's own."""

    kind: Literal["discover", "request"]
    hardware_id: str
    hostname: str
    ip: str = ""
    port: int = 0
    user: str = ""
    version: str = ""
    token: str | None = None
    password: str | None = None


class RegisterAnswer(Message, frozen=True, kw_only=True):
    """Manager's answer; never carries a secret."""

    kind: Literal["offer", "ack", "pending", "refused"]
    unit: str | None = None
    reason: str | None = None


class Presence(Message, frozen=True, kw_only=True):
    """Retained, and the unit's last will with ``online`` false. ``connection`` is fresh per connect."""

    online: bool
    connection: str
    boot_id: str
    version: str
    since: str


class StationReading(Message, frozen=True, kw_only=True):
    """Latest values of a station; None means missing."""

    voltage_v: float | None = None
    current_a: float | None = None
    temperature_c: float | None = None


class StationBeat(Message, frozen=True, kw_only=True):
    """One station in a heartbeat.

    ``state``: idle, manual, running, paused, tripped, unsafe. ``alarm`` is the UUID of the latch.
    """

    station: str
    version: int
    state: Literal["idle", "manual", "running", "paused", "tripped", "unsafe"]
    experiment: str | None = None
    step: int | None = None
    reading: StationReading | None = None
    age_of_last_reading_s: float | None = None
    alarm: str | None = None
    detail: str | None = None
    remaining_s: float | None = None
    """Until the experiment's expected end, as the interpreter sees it; None = unknown."""


class Heartbeat(Message, frozen=True, kw_only=True):
    """Every 5 s, QoS 0. Times are ISO 8601 UTC on the unit's own clock."""

    sent_at: str
    uptime_s: float
    load: float
    disk_free_bytes: int
    spool_batches: int
    rejected_batches: int
    stations: list[StationBeat]
    connection: str = ""
    dropped_messages: int = 0


class ReportedDevice(Message, frozen=True, kw_only=True):
    """A device found on a unit; ``link`` are its link settings, ``model`` a catalogue key."""

    model: str
    serial_number: str
    link_name: str
    connected: bool
    detail: str = ""
    link: dict[str, Any] = {}


class DeviceReport(Message, frozen=True, kw_only=True):
    """Retained. ``kinds`` carries catalogue entries that the site may not know."""

    scanned_at: str
    devices: list[ReportedDevice]
    kinds: list[dict[str, Any]] = []


CommandKind = Literal[
    "detect",
    "station.configure",
    "station.acknowledge",
    "station.stop_all",
    "experiment.start",
    "experiment.pause",
    "experiment.resume",
    "experiment.stop",
    "experiment.skip_step",
    "device.read",
    "device.set",
    "device.off",
    "device.lease",
    "scpi.query",
    "scpi.write",
    "can.send",
    "can.listen",
    "unit.log",
    "unit.restart",
]
# Never expire (safety.md rule 11).
STOPS: frozenset[str] = frozenset({"experiment.stop", "station.stop_all", "device.off"})


class Command(Message, frozen=True, kw_only=True):
    """One order to a unit, never retained. ``args`` is one of the structs below, by ``kind``."""

    id: str
    connection: str
    kind: CommandKind
    args: msgspec.Raw
    issued_at: str
    expires_at: str | None = None
    issued_by: str = ""


class Reply(Message, frozen=True, kw_only=True):
    """The unit's answer to one command."""

    command: str
    outcome: Literal["done", "refused", "failed"]
    result: dict[str, Any] | None = None
    reason: str | None = None


class SampleBatch(Message, frozen=True, kw_only=True):
    """Equal-length columns keyed by name; ``seq`` of row i is ``first_seq + i``."""

    experiment: str
    first_seq: int
    count: int
    columns: dict[str, list[Any]]


class Event(Message, frozen=True, kw_only=True):
    """One event. ``detail`` by kind:

    status: ``{status, end_reason?, last_seq?}``; step: a step row (``row``) or ``{entered}``;
    alarm: ``{id, code, limit?, measured?, station, experiment?, class}``.
    """

    at: str
    kind: Literal["status", "step", "alarm", "device", "note"]
    text: str
    station: str | None = None
    experiment: str | None = None
    step: int | None = None
    detail: dict[str, Any] = {}


class EventBatch(Message, frozen=True, kw_only=True):
    """Events in order; key of event i is (unit, spool, first_seq + i)."""

    spool: str
    first_seq: int
    events: list[Event]


class AckedSamples(Message, frozen=True, kw_only=True):
    """Rows ``first_seq`` to ``first_seq + count - 1`` are in the database."""

    experiment: str
    first_seq: int
    count: int


class RejectedSamples(Message, frozen=True, kw_only=True):
    """A batch that can never be stored, and why."""

    experiment: str
    first_seq: int
    count: int
    reason: str


class AckedEvents(Message, frozen=True, kw_only=True):
    """Events up to and including ``through`` of this spool are in the database."""

    spool: str
    through: int


class Ack(Message, frozen=True, kw_only=True):
    """Manager to unit: contact, clock and what is safely stored."""

    heard_sent_at: str | None = None
    sent_at: str = ""
    samples: list[AckedSamples] = []
    rejected: list[RejectedSamples] = []
    events: AckedEvents | None = None


# --- arguments of the commands ------------------------------------------------------------------


class StationDevice(Message, frozen=True, kw_only=True):
    """One device of a station. ``role``: power, meter, bms, flow, isolator, auxiliary."""

    device: str
    role: str
    model: str
    serial_number: str
    link: dict[str, Any]
    name: str = ""


class StationMeasure(Message, frozen=True, kw_only=True):
    """A measure of a device under the name the station gives it (``temperature_c`` is the cell's)."""

    device: str
    measure: str
    name: str


class StationConfigure(Message, frozen=True, kw_only=True):
    """A whole station at one version; applied only when idle."""

    station: str
    name: str
    version: int
    devices: list[StationDevice]
    measures: list[StationMeasure] = []
    outputs: list[dict[str, Any]] = []
    limits: dict[str, Any] = {}
    loop_period_s: float = 0.1
    sensing: int = 4
    retired: bool = False


class StationAcknowledge(Message, frozen=True, kw_only=True):
    """Release the latch of the alarm with this UUID."""

    station: str
    alarm: str


class StationStopAll(Message, frozen=True, kw_only=True):
    """Stop these stations; empty means all of the unit."""

    stations: list[str] = []


class BatteryRef(Message, frozen=True, kw_only=True):
    """The battery as the unit needs it for the wiring check (safety.md rule 4)."""

    battery: str
    name: str
    technology: str
    cells_in_series: int = 1
    capacity_ah: float | None = None
    last_rest_voltage_v: float | None = None
    rest_voltage_confirmed: bool = False


class ExperimentStart(Message, frozen=True, kw_only=True):
    """Everything the unit needs to run alone."""

    experiment: str
    name: str
    station: str
    station_version: int
    battery: BatteryRef
    profile: dict[str, Any]
    capacity_ah: float | None
    envelope: str
    """The envelope's very text; ``envelope_sha256`` is the hash of its UTF-8 bytes."""
    envelope_sha256: str
    initial_soc_percent: float | None = None
    contact_policy: Literal["continue", "finish_step", "off"] = "continue"
    off_after_s: float | None = None
    resume_policy: Literal["hold", "resume"] = "hold"
    resume_within_s: float = 3600.0


class ExperimentRef(Message, frozen=True, kw_only=True):
    """Pause, resume and skip name their experiment."""

    experiment: str
    person: str = ""


class ExperimentStop(Message, frozen=True, kw_only=True):
    """Stop names its experiment, so that a late one cannot hit the next."""

    experiment: str
    how: Literal["now", "finish"] = "now"
    reason: str = ""
    person: str = ""


class Detect(Message, frozen=True, kw_only=True):
    """Scan for devices."""

    links: list[str] = []


ARGS: dict[str, type[Message]] = {
    "detect": Detect,
    "station.configure": StationConfigure,
    "station.acknowledge": StationAcknowledge,
    "station.stop_all": StationStopAll,
    "experiment.start": ExperimentStart,
    "experiment.pause": ExperimentRef,
    "experiment.resume": ExperimentRef,
    "experiment.stop": ExperimentStop,
    "experiment.skip_step": ExperimentRef,
}
