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
    battery: str | None = None
    """The battery that the unit watches here (rule 17); a difference makes the manager send it again."""
    lease: str | None = None
    """The manual lease that holds the station, None when nobody does (rule 20)."""
    outputs: dict[str, float] = {}
    """What the auxiliary outputs are set to, as confirmed."""


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
    """A device found on a unit; ``link`` are its link settings, ``model`` a catalogue key or empty."""

    model: str
    serial_number: str
    link_name: str
    connected: bool
    detail: str = ""
    link: dict[str, Any] = {}
    answered: str = ""
    """What an unknown device said of itself, as text or hex; its ``model`` is empty then."""
    since: str = ""
    """Since when it is connected, or not; ISO 8601 UTC on the unit's clock."""


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
    "station.battery",
    "station.drill",
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
    "unit.readings",
    "unit.restart",
]
# A manual lease lasts this long and is renewed by the page (safety.md rule 20).
LEASE_S = 10.0
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
    alarm: ``{id, code, limit?, measured?, station, experiment?, class}``;
    reading: ``{device, model, serial_number, link_name, values{measure: number or null}}``, a device
    that runs no experiment, every period; ``device`` only of one in a station; black_box: ``{alarm?, exchanges[{device, at, to, text}], readings{columns}}``, in parts of
    at most 200 kB (``part``, ``parts``); progress: ``{command, done, of, text}`` of a long command.
    """

    at: str
    kind: Literal["status", "step", "alarm", "device", "note", "reading", "black_box", "progress"]
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
    kind: dict[str, Any] | None = None
    """The whole catalogue row of a model that people added on the site; None: the unit knows it."""


class StationMeasure(Message, frozen=True, kw_only=True):
    """A measure of a device under the name the station gives it (``temperature_c`` is the cell's)."""

    device: str
    measure: str
    name: str


class StationOutput(Message, frozen=True, kw_only=True):
    """An auxiliary output of a station: a control of one of its devices under a name for steps.

    ``on_trip`` and ``on_finish`` are written then; None leaves the output as it is.
    """

    name: str
    device: str
    control: str
    minimum: float | None = None
    maximum: float | None = None
    safe: float | None = None
    on_trip: float | None = None
    on_finish: float | None = None


class Interlock(Message, frozen=True, kw_only=True):
    """A boolean measure that must read ``ok`` (door, smoke, gas, chamber, mains, E-stop contact)."""

    name: str
    device: str
    measure: str
    ok: float = 1.0


class ZoneOutput(Message, frozen=True, kw_only=True):
    """A control that takes ``on_trip`` when an interlock of its zone opens (exhaust, chamber, siren).

    ``on_server_lost``: the annunciator of rule 19 also takes it when an alarm cannot reach the server.
    """

    name: str
    device: str
    control: str
    on_trip: float
    normal: float | None = None
    on_server_lost: bool = False


class Zone(Message, frozen=True, kw_only=True):
    """What stations share: interlocks, and outputs that act when one opens (safety.md rule 18)."""

    zone: str
    name: str
    devices: list[StationDevice] = []
    interlocks: list[Interlock] = []
    outputs: list[ZoneOutput] = []
    max_age_s: float = 2.0


class StationConfigure(Message, frozen=True, kw_only=True):
    """A whole station at one version; applied only when idle."""

    station: str
    name: str
    version: int
    devices: list[StationDevice]
    measures: list[StationMeasure] = []
    outputs: list[StationOutput] = []
    limits: dict[str, Any] = {}
    loop_period_s: float = 0.1
    sensing: int = 4
    quadrants: Literal["charge", "discharge", "both"] = "both"
    zone: Zone | None = None
    leak_a: float | None = None
    """Measured leak of the station at rest (rule 17), A."""
    dead_man: str | None = None
    """Name of the output that opens when it is not refreshed for 5 s (rule 3)."""
    unguarded_max_wh: float = 5.0
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
    resistance_ohm: float | None = None
    """As the first pulse check recorded it (rule 4)."""
    energy_wh: float | None = None


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
    pulse: Literal["check", "record", "skip"] = "skip"
    """Rule 4: ``check`` against ``battery.resistance_ohm``, ``record`` it the first time."""


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


class StationBattery(Message, frozen=True, kw_only=True):
    """Which battery is loaded in a station, so that the unit watches it also at rest (rule 17).

    ``battery`` None: ejected. ``envelope`` is the text of the battery's own limits in this station.
    """

    station: str
    battery: BatteryRef | None = None
    envelope: str = ""
    envelope_sha256: str = ""
    loaded_at: str = ""


class StationDrill(Message, frozen=True, kw_only=True):
    """Let a station behave as if the server were away for ``seconds`` (rule 9): the policy must act."""

    station: str
    seconds: float
    person: str = ""


class Detect(Message, frozen=True, kw_only=True):
    """Scan for devices; ``links`` names buses of the unit's file, empty means all.

    ``kinds`` are the catalogue rows that operators made on the site: the unit keeps them.
    """

    links: list[str] = []
    kinds: list[dict[str, Any]] = []


class DevicePlace(Message, frozen=True, kw_only=True):
    """How the unit knows a device that is in no station: the site's UUID says nothing to it."""

    model: str
    serial_number: str = ""
    link_name: str = ""


class DeviceRead(Message, frozen=True, kw_only=True):
    """Read a device now; the reply carries ``{values, held, output_on?}``."""

    device: str
    where: DevicePlace | None = None


class DeviceLease(Message, frozen=True, kw_only=True):
    """Take, renew or give back the exclusive manual lease of a device or station (rule 20).

    ``lease`` is a UUID that the taker makes; it lasts ``LEASE_S`` and is renewed by the same message.
    For a station: ``connected`` names what hangs there. ``battery``: the loaded one, ``envelope`` is
    its text. ``other``: nothing or another object, with the typed limits and a duration.
    """

    lease: str
    person: str
    device: str | None = None
    where: DevicePlace | None = None
    station: str | None = None
    release: bool = False
    connected: Literal["battery", "other"] = "other"
    battery: str | None = None
    envelope: str = ""
    envelope_sha256: str = ""
    voltage_min_v: float | None = None
    voltage_max_v: float | None = None
    current_min_a: float | None = None
    current_max_a: float | None = None
    duration_s: float | None = None


class DeviceSet(Message, frozen=True, kw_only=True):
    """Set controls by hand under a lease.

    For a station's power device ``values`` are ``mode`` (off, cc, cv, cp), ``current_a`` (signed),
    ``voltage_v``, ``power_w``; for all others the controls of the catalogue row, ramps included.
    """

    lease: str
    device: str
    where: DevicePlace | None = None
    values: dict[str, float | str]
    person: str = ""


class DeviceOff(Message, frozen=True, kw_only=True):
    """Down: everything of a device or a station off, whoever holds it; never expires."""

    device: str | None = None
    where: DevicePlace | None = None
    station: str | None = None
    person: str = ""


class ScpiMessage(Message, frozen=True, kw_only=True):
    """One console message on a text bus; ``link`` names it as the unit's file or report does."""

    link: str
    text: str
    timeout_s: float = 2.0
    force: bool = False


class CanSend(Message, frozen=True, kw_only=True):
    """One frame on a CAN bus; ``payload`` in hex. The reply carries frames heard within ``listen_s``."""

    link: str
    id: int
    payload: str = ""
    listen_s: float = 0.2
    force: bool = False


class CanListen(Message, frozen=True, kw_only=True):
    """Listen on a CAN bus; the reply carries up to ``most`` frames that pass ``(id & mask)``.

    ``after`` 0: a new look, ``seconds`` long. Else the frames that came since the answer whose
    ``next`` it repeats, as soon as there is one: asking again and again misses none.
    """

    link: str
    after: int = 0
    seconds: float = 5.0
    id: int = 0
    mask: int = 0
    most: int = 500


class UnitLog(Message, frozen=True, kw_only=True):
    """Return the last lines of the unit's log, or set its level (``cycler_unit.link=DEBUG``)."""

    lines: int = 200
    level: str | None = None


class ReadingPeriod(Message, frozen=True, kw_only=True):
    """How often one device is recorded while it runs no experiment; None = the unit's own default."""

    where: DevicePlace
    every_s: float | None = None


class UnitReadings(Message, frozen=True, kw_only=True):
    """Set recording periods; devices that are not named keep theirs. The unit keeps it."""

    periods: list[ReadingPeriod]


class UnitRestart(Message, frozen=True, kw_only=True):
    """Restart the unit; refused while a test runs unless ``force``."""

    force: bool = False
    person: str = ""


ARGS: dict[str, type[Message]] = {
    "detect": Detect,
    "station.configure": StationConfigure,
    "station.acknowledge": StationAcknowledge,
    "station.stop_all": StationStopAll,
    "station.battery": StationBattery,
    "station.drill": StationDrill,
    "experiment.start": ExperimentStart,
    "experiment.pause": ExperimentRef,
    "experiment.resume": ExperimentRef,
    "experiment.stop": ExperimentStop,
    "experiment.skip_step": ExperimentRef,
    "device.read": DeviceRead,
    "device.lease": DeviceLease,
    "device.set": DeviceSet,
    "device.off": DeviceOff,
    "scpi.query": ScpiMessage,
    "scpi.write": ScpiMessage,
    "can.send": CanSend,
    "can.listen": CanListen,
    "unit.log": UnitLog,
    "unit.readings": UnitReadings,
    "unit.restart": UnitRestart,
}
