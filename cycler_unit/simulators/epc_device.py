"""The simulated EPC as a device of the simulator program: its place on the bus, its faults, its truth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from cycler_unit.simulators.bench import BenchError, CellSpec, convert
from cycler_unit.simulators.can_device import CanDevice
from cycler_unit.simulators.can_host import link_of
from cycler_unit.simulators.circuit import Circuit
from cycler_unit.simulators.device import Asked, Clock, Refused
from cycler_unit.simulators.epc import EpcMachine
from cycler_unit.simulators.epc_rules import COMM, HS_V, LS_I, LS_V, TEMP
from cycler_unit.simulators.epc_stage import EpcStage

ALARMS = {"HS": HS_V, "LS": LS_V, "LSI": LS_I, "COMM": COMM, "TEMP": TEMP}
# A drift slow enough to pass several control periods on its way over a limit.
DRIFT_V_S = 0.05


class EpcSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One EPC of the bench file. ``sensors`` are anode (0 none, 1, 2), body and ambient (0, 1).

    ``heartbeat_ms`` per count is 5 (as measured) or 10 (as meant); ``limit_byte_order`` big or little.
    """

    name: str
    model: str
    node: int = 0x13
    serial_number: int = 1
    firmware: int = 1
    revision: int = 0
    sensors: tuple[int, int, int] = (2, 1, 1)
    hs_v: float = 12.0
    heartbeat_ms: int = 5
    limit_byte_order: str = "big"
    interface: str = "udp_multicast"
    channel: str | None = None
    port: int | None = None
    cell: CellSpec | None = CellSpec()
    speed: float = 1.0


class EpcDevice(CanDevice):
    """One EPC on the bus, with its power stage on a circuit of its own or shared with others."""

    def __init__(self, spec: EpcSpec, seed: int, clock: Clock, circuit: Circuit | None) -> None:
        if circuit is None:
            cell = spec.cell.build() if spec.cell else None
            circuit = Circuit(cell, clock=clock, name=spec.name, spec=spec.cell, speed=spec.speed)
        link = link_of(
            {
                key: value
                for key in ("interface", "channel", "port")
                if (value := getattr(spec, key)) is not None
            }
        )
        super().__init__(spec.name, spec.model, link, {"node": spec.node}, clock=clock, circuit=circuit)
        self.serial_number = str(spec.serial_number)
        self.stage = EpcStage(circuit, hs_v=spec.hs_v, seed=seed, clock=clock)
        self.stage.sensors = (bool(spec.sensors[1]), bool(spec.sensors[0]), bool(spec.sensors[2]))
        self._began_s = clock()
        self._dead_until_s: float | None = None
        self._from_others: list[tuple[int, bytes]] = []
        """Commands of another host that are not on the bus yet."""
        self.machine = EpcMachine(
            self.stage,
            node=spec.node,
            firmware=spec.firmware,
            revision=spec.revision,
            sensors=spec.sensors,
            serial_number=spec.serial_number,
            heartbeat_step=10 // spec.heartbeat_ms,
            limit_byte_order=spec.limit_byte_order,
        )
        self.stage.stepped = self._stepped

    def _stepped(self, mv: int, ma: int, ran_s: float) -> None:
        self.machine.watch(mv, ma, self.machine.applied_ms + ran_s * 1000.0)

    @property
    def _now_ms(self) -> float:
        return (self.clock() - self._began_s) * 1000.0

    # --- the bus's side ---------------------------------------------------------------------------

    def hears(self, frame_id: int) -> bool:
        """Tell whether its filter lets a frame through, and whether it is there at all."""
        return self._dead_until_s is None and not self.silent and self.machine.hears(frame_id)

    def take(self, frame_id: int, payload: bytes) -> None:
        """Put a frame into its mailbox, in the right order with what happened before."""
        self.machine.handle(frame_id, payload, self._now_ms)

    def step(self) -> list[tuple[int, bytes]]:
        """Live on until now; nothing leaves it while its cable is out."""
        if self._dead_until_s is not None:
            if self.clock() < self._dead_until_s:
                return []
            self._dead_until_s = None
            self.machine.boot(self._now_ms)
        others, self._from_others = self._from_others, []
        sent = others + [(frame_id, payload) for _, frame_id, payload in self.machine.tick(self._now_ms)]
        return [] if self.silent else sent

    def live(self) -> None:
        """Live on until now with nobody on the bus; a day of a device that gave up on its host is short."""
        if self.machine.dormant and not self.stage.flowing:
            self.machine.sleep(self._now_ms)
        else:
            self.step()

    @property
    def due_s(self) -> float | None:
        """Return when the next round is over, None while every round is like the last."""
        if self._dead_until_s is not None:
            return None if self._dead_until_s == float("inf") else self._dead_until_s
        return self._began_s + self.machine.due_ms / 1000.0 if self.machine.busy else None

    # --- truth and faults -------------------------------------------------------------------------

    def truth(self) -> dict[str, Any]:
        """Return what the power stage really does, and what the device says of itself."""
        machine = self.machine
        said = {"ordered": bool(machine.point.on), "mode": machine.point.mode, "flags": machine.errors.flags}
        return self.stage.truth() | said | {"locked": machine.locked, "boots": machine.boots}

    def break_it(self, name: str, asked: Asked) -> bool:
        """Break the EPC itself; see the table in ``control.py``."""
        stage = self.stage
        stage.circuit.advance()
        if name == "freeze":
            stage.frozen = stage.measured()
        elif name == "drift":
            rate_v_s = float(asked.get("rate_v_s", 0.0 if "offset_v" in asked else DRIFT_V_S))
            stage.drift = (float(asked.get("offset_v", 0.0)), rate_v_s, self.clock())
        elif name == "noise":
            stage.noise_v = float(asked.get("voltage_v", 0.01))
            stage.noise_a = float(asked.get("current_a", 0.01))
        elif name == "stuck_on":
            stage.stuck_on = True
        elif name == "sense_open":
            stage.sense_share = float(asked.get("share", 0.0))
        elif name == "sensor_off":
            stage.sensor_off = True
        else:
            return self._break_control(name, asked)
        return True

    def _break_control(self, name: str, asked: Asked) -> bool:
        """Faults of what it takes, who moves it, and its supply."""
        machine = self.machine
        if name == "refuse":
            machine.refuses = True
        elif name == "clamp":
            machine.clamp_ma = round(1000.0 * float(asked.get("current_a", 0.5)))
        elif name == "misread":
            machine.misread_mv = round(1000.0 * float(asked["voltage_v"]))
        elif name == "alarm":
            machine.errors.forced |= _alarm(str(asked.get("name", "TEMP")).upper())
        elif name == "lock":
            machine.lock(self._now_ms)
        elif name == "panel_change":
            self._by_hand(asked)
        elif name == "reboot":
            machine.boot(self._now_ms)
        elif name == "mains_lost":
            self._lose_mains(asked)
        else:
            return False
        return True

    def _by_hand(self, asked: Asked) -> None:
        """Let another host send a command, which all on the bus hear: there is no front panel."""
        changed = {"on": int(bool(asked["output"]))} if "output" in asked else {}
        if "current_a" in asked:
            changed["ref"] = round(1000.0 * float(asked["current_a"]))
        payload = self.machine.order_by_hand(self._now_ms, **changed)
        self._from_others.append((self.machine.node << 4, payload))

    def _lose_mains(self, asked: Asked) -> None:
        for_s = asked.get("for_s")
        self._dead_until_s = float("inf") if for_s is None else self.clock() + float(for_s)
        self.stage.drive(None)

    def repair(self) -> None:
        """Clear its faults; mains come back."""
        self.stage.release()
        self.machine.refuses, self.machine.clamp_ma, self.machine.errors.forced = False, None, 0
        self.machine.misread_mv = None
        if self._dead_until_s is not None:
            self._dead_until_s = self.clock()


def _alarm(name: str) -> int:
    if name not in ALARMS:
        raise Refused(f"no alarm {name!r}; there are {', '.join(ALARMS)}")
    return ALARMS[name]


def make(spec: dict[str, Any], circuits: Mapping[str, Circuit], seed: int, clock: Clock) -> EpcDevice:
    """Build an EPC from an entry of ``devices``; it shares ``circuit``, or has a ``cell`` of its own."""
    given = dict(spec)
    given.pop("host", None)
    circuit = given.pop("circuit", None)
    epc = convert(given, EpcSpec)
    if not 0 <= epc.node <= 0x7F:
        raise BenchError(f"devices: {epc.name}: node is 0 to 0x7F, not {epc.node}")
    if epc.heartbeat_ms not in (5, 10):
        raise BenchError(f"devices: {epc.name}: heartbeat_ms is 5 or 10, not {epc.heartbeat_ms}")
    return EpcDevice(epc, seed, clock, circuits[circuit] if circuit is not None else None)
