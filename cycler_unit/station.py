"""One station: it reads its devices, keeps them safe and lets the conductor run tests.

The order in every round: read, judge, act, and only then record (architecture.md, measurement path).
Its thread is in ``rounds``, what it is made of in ``parts``, off and lost in ``reach``, what else it looks
at in ``guards``, what it tells in ``latches``.
"""

from __future__ import annotations

import contextlib
import logging
from typing import Any, Literal

from cycler_unit import down, latches, loaded, zones
from cycler_unit.auxiliaries import Auxiliaries
from cycler_unit.black_box import BlackBox
from cycler_unit.by_hand import ByHand
from cycler_unit.conductor import Conductor
from cycler_unit.contract import Refusal
from cycler_unit.drivers.base import Measured
from cycler_unit.drivers.errors import DriverError
from cycler_unit.guards import Guards
from cycler_unit.hub import Hub
from cycler_unit.mail import Ask
from cycler_unit.parts import BadStation, Parts
from cycler_unit.power import OffResult, Power
from cycler_unit.reach import REOPEN_S, Reach
from cycler_unit.readings import Composer, Taken
from cycler_unit.rounds import Rounds
from cycler_unit.spool import Entry, StoredRun
from cycler_unit.stations import Kept
from cycler_unit.watch import Watch
from cycling import reasons
from wire.catalogue import Kind
from wire.messages import StationBeat, StationDevice

logger = logging.getLogger("cycler_unit.station")

# A round that comes earlier than the period, because a step's time is up, comes no earlier than this.
SHORTEST_S = 0.002

AlarmClass = latches.AlarmClass
State = Literal["idle", "manual", "running", "paused", "tripped", "unsafe"]


class Station(Rounds):
    """The owner of one current path and of the test that runs on it."""

    def __init__(self, kept: Kept, hub: Hub, pending: StoredRun | None = None) -> None:
        configure = kept.configure
        super().__init__(f"station-{configure.name}")
        self.kept, self.hub = kept, hub
        self.taken: Taken | None = None
        self.measured: dict[str, Measured | None] = {}
        """What each device measured last, by UUID; None for one that does not answer."""
        self.zone_open: str | None = None
        """Why the station's zone forbids current, None when it does not (rule 18)."""
        self.unsaved_since_s: float | None = None
        """Since when its file on the disk is older than what is known here."""
        self.period_s = hub.config.loop_period_s or configure.loop_period_s
        self._shown: tuple[Any, ...] = ()
        self.parts = Parts(configure, hub, self.period_s)
        self.power: Power = self.parts.power
        if configure.zone is not None:
            try:
                zones.check(configure.zone, hub)
            except zones.BadZone as error:
                raise BadStation(str(error)) from None
        self.outputs = Auxiliaries(self)
        self.reach = Reach(self)
        self.guards = Guards(self)
        self.by_hand = ByHand(self)
        self.watch = Watch(leak_a=configure.leak_a, i_off_a=self.power.off_rule.i_off_a)
        self.black_box = BlackBox(self.id, self.composer.extended_names, self.period_s)
        loaded.watch_again(self)
        self.parts.hold()
        self.conductor = Conductor(self)
        self.conductor.pending = pending

    # --- what it is made of ---------------------------------------------------------------------

    @property
    def id(self) -> str:
        """Return the station's UUID."""
        return self.kept.configure.station

    @property
    def kinds(self) -> dict[str, Kind]:
        """Return the kinds of its devices by UUID."""
        return self.parts.kinds

    @property
    def power_device(self) -> StationDevice:
        """Return the device that drives the cell; of source and load the load, named as both."""
        return self.parts.power_device

    @property
    def composer(self) -> Composer:
        """Return who composes its readings."""
        return self.parts.composer

    @property
    def link(self) -> dict[str, Any]:
        """Return the link of its power device."""
        return self.parts.places[-1].link

    @property
    def held(self) -> dict[str, dict[str, float]]:
        """Return what its auxiliary devices hold of their controls, as read back, by UUID."""
        return {key: dict(each.held) for key, each in self.parts.instruments.items()}

    @property
    def latched(self) -> bool:
        """Say whether a person has to acknowledge before anything may start (rule 7)."""
        return bool(self.kept.latches)

    @property
    def unsafe(self) -> str | None:
        """Return why this station is not confirmed off, None when it is."""
        return self.reach.unsafe

    @property
    def busy(self) -> bool:
        """Say whether a test or a person has the station, so that it is read at its full rate."""
        return self.conductor.run is not None or self.by_hand.lease is not None

    # --- the thread -----------------------------------------------------------------------------

    def _begin(self) -> None:
        self.parts.hold()
        # Off first (rule 10): opening a relay board opens the isolator, which switches at zero current only
        # (rule 17), and a zone may have to wait for the end of a scan, or of its watch before a change.
        try:
            self.reach.reopen()
        except Exception:
            logger.exception("event=first_off_failed station=%s", self.id)  # the rounds go on trying
        for each in self.parts.instruments.values():
            each.pace(self.hub.config.idle_period_s)
            each.start()
        zone = self.kept.configure.zone
        if zone is not None:
            self.hub.zones.join(zone, self.id, self._zone_told)

    def _after(self) -> None:
        self._store_box()
        latches.save_again(self)
        self._show()

    def _leave(self) -> None:
        self.by_hand.end("the unit stops")
        self.conductor.suspend()
        if self.power.is_open:
            self.switch_off()
        self.outputs.leave()
        self._store_box()
        self.close()

    def close(self) -> None:
        """Disconnect all devices."""
        zone = self.kept.configure.zone
        if zone is not None:
            self.hub.zones.leave(zone, self.id)
        self.power.close()
        for each in self.parts.instruments.values():
            each.stop()
        self.parts.release()

    @property
    def read_every_s(self) -> float:
        """How often the devices are read now: seldom while nothing is done with them."""
        return self.period_s if self.busy else self.hub.config.idle_period_s

    def _pace(self) -> tuple[float, bool]:
        busy, period_s = self.busy, self.read_every_s
        for each in self.parts.instruments.values():
            each.pace(period_s)
        if self.unsafe is not None and not busy:
            period_s = min(period_s, REOPEN_S)
        run = self.conductor.run
        due_in_s = run.interpreter.due_in_s if run is not None else None
        if due_in_s is not None and 0.0 < due_in_s < period_s:
            # A step that ends by time is read when its time is up, not up to a period later.
            return max(due_in_s, SHORTEST_S), True
        return period_s, False

    def _do(self, ask: Ask) -> None:
        match ask.do:
            case "lease":
                self.by_hand.ask_lease(ask.args, ask.reply)
            case "manual_set":
                self.by_hand.ask_set(ask.args, ask.reply)
            case "manual_off":
                down.of_station(self, ask.args, ask.reply)
            case "battery":
                loaded.load(self, ask)
            case "zone":
                self._zone_trip(ask.args)
            case "stop_all":
                down.by_stop_all(self, ask)
            case _:
                self.conductor.serve(ask)

    def _round(self) -> None:
        if not self.power.is_open and not self.reach.reopen():
            self._look_around(None)
            return
        if self.unsafe is not None:
            self.switch_off()
            if not self.power.is_open:
                self._look_around(None)
                return
        taken = self.read()
        self.conductor.take(taken)
        self.by_hand.take(taken)
        if self._stopping:
            return  # the last one: off comes next, and what flows until then nobody counts
        # Questions cost exchanges: only after the reading was judged and acted on (rule 5).
        self.guards.faults()
        self.guards.take(taken)
        self._look_around(self.taken)

    def _look_around(self, taken: Taken | None) -> None:
        """Look at outputs and the loaded battery: after acting, for it may take its time."""
        self.outputs.look()
        loaded.look(self, taken)

    def _not_off(self, why: str) -> None:
        self.reach.unsafe = why

    def read(self) -> Taken:
        """Read all devices once; raises the errors of drivers for the power device only."""
        self.taken, self.measured = self.parts.read(self.power)
        self.black_box.add(self.taken, self.power.output_on)
        return self.taken

    # --- off, lost, errors, trips -----------------------------------------------------------------

    def switch_off(self) -> OffResult | None:
        """Switch off and confirm (rule 6); not confirmed makes the station unsafe. None: device lost."""
        return self.reach.switch_off()

    def lose(self, why: str) -> None:
        """Take a lost device: it is not off; the link is opened again at once, then the test ends."""
        self.reach.lose(why)

    def fail(self, code: str, text: str) -> None:
        """Take an error of the device or of the program: off first, then the test ends with it."""
        self.switch_off()
        if not self.ended_by(code, text) and (code != "device_error" or self.reach.said != text):
            self.reach.said = text
            logger.error("event=station_error station=%s code=%s reason='%s'", self.id, code, text)
            self.event("device", text, {"code": code})

    def trip(self, code: str, text: str, **detail: Any) -> None:
        """Take a violation of the station's own: off first, then latch, event, alarm, outputs."""
        if self.power.is_open:
            self.switch_off()
        if not self.ended_by(code, text, "trip", **detail):
            told = f"{self.kept.configure.name}: {text}"
            self.alarm(code, told, "unsafe" if self.unsafe else "trip", **self._hurt(code, detail))
            self.outputs.ended("error")

    def ended_by(
        self, code: str, text: str, grade: Literal["error", "trip"] = "error", **detail: Any
    ) -> bool:
        """End the test or the manual control with a cause, the output is off already; False: there was none."""
        if self.conductor.run is not None:
            self.conductor.fail(code, text, grade, **detail)
            return True
        if not self.by_hand.stopped(text):
            return False
        self.alarm(code, f"by hand: {text}", "unsafe" if self.unsafe else grade, **self._hurt(code, detail))
        self.outputs.ended("error")
        return True

    def _hurt(self, code: str, detail: dict[str, Any]) -> dict[str, Any]:
        """Return an alarm's detail with the loaded battery, and whether it needs an inspection (rule 7)."""
        if self.watch.id is None:
            return detail
        hurt = {"quarantine": True} if reasons.quarantines(code, detail.get("quantity")) else {}
        return {"battery": self.watch.id, **hurt, **detail}

    # --- zone, and what forbids a start -------------------------------------------------------------

    def _zone_told(self, why: str | None) -> None:
        """Hear of the zone; called from its watch's thread."""
        self.zone_open = why
        if why is not None:
            self.mail.put(Ask("zone", why, lambda *_: None, urgent=True))

    def _zone_trip(self, why: str) -> None:
        if self.zone_open is not None or self.busy:
            self.trip("interlock", why)

    @property
    def zone_why(self) -> str | None:
        """Return why the zone forbids current: it is open, or nobody has read it yet."""
        zone = self.kept.configure.zone
        if self.zone_open is not None or zone is None:
            return self.zone_open
        watch = self.hub.zones.get(zone)
        return watch.why if watch is not None else f"zone {zone.name} is not watched"

    @property
    def wanted_elsewhere(self) -> bool:
        """Say whether something must not wait until a long exchange is over: a stop, the zone, the end."""
        return self._stopping or self.zone_open is not None or self.mail.urgent

    def refuse_start(self, battery: str) -> None:
        """Raise :class:`Refusal` for what forbids an experiment on this station and is none of its own."""
        if self.by_hand.lease is not None:
            raise Refusal(f"{self.by_hand.lease.person} controls the station by hand", 20)
        if self.zone_why is not None:
            raise Refusal(self.zone_why, 18)
        if self.watch.id not in (None, battery):
            raise Refusal(f"another battery is loaded in the station: {self.watch.name}", 12)

    # --- telling --------------------------------------------------------------------------------

    def alarm(
        self, code: str, text: str, grade: AlarmClass, experiment: str | None = None, **detail: Any
    ) -> str:
        """Latch the station on its disk, then raise an alarm; returns the alarm's UUID."""
        return latches.alarm(self, code, text, grade, experiment, **detail)

    def acknowledge(self, alarm: str) -> bool:
        """Release the latch of ``alarm``; False when it was not latched. Raises :class:`Refusal`."""
        if all(each.alarm != alarm for each in self.kept.latches):
            return False  # a warning, or released before: a test that runs is left alone
        if self.unsafe is not None:
            raise Refusal(f"the station is not confirmed off: {self.unsafe}", 6)
        if self.zone_open is not None:
            raise Refusal(f"{self.zone_open}: acknowledge it when the zone is safe again", 18)
        # What the device remembers of the past is acknowledged with it; what lasts it will say again.
        # Opened anew, off first: it may have lost its remote control at the front panel.
        self.power.close()
        if self.reach.reopen():
            with contextlib.suppress(DriverError):
                self.power.device.fault()
        self.watch.acknowledged()
        return latches.release(self, alarm)

    def save(self) -> None:
        """Keep configuration, latches and the loaded battery on the disk."""
        latches.save(self)

    def event(
        self, kind: str, text: str, detail: dict[str, Any] | None = None, experiment: str | None = None
    ) -> None:
        """Put an event into the spool, at once."""
        latches.event(self, kind, text, detail, experiment)

    def _store_box(self) -> None:
        """Store the black box if something asked for it in this round."""
        if not self.black_box.asked:
            return
        said = {}
        devices = dict(
            zip((place.device.device for place in self.parts.places), self.power.devices(), strict=True)
        )
        for key, device in [
            *devices.items(),
            *((key, each.device) for key, each in self.parts.instruments.items()),
        ]:
            with contextlib.suppress(DriverError):
                said[key] = device.exchanges()
        for event in self.black_box.take(said):
            self.hub.spool.put(Entry(experiment=event["experiment"], events=[event]))

    def _show(self) -> None:
        # The first reading counts as a change: nobody should look at an empty tile until the next heartbeat.
        shown = (
            self.state, self.unsafe, self.conductor.shown, len(self.kept.latches), self.taken is None,
            self.by_hand.shown, self.watch.id, self.outputs.shown,
        )  # fmt: skip
        if shown != self._shown:
            self._shown = shown
            self.hub.changed()

    @property
    def state(self) -> State:
        """Return the state that the site shows: the worst first."""
        if self.unsafe is not None:
            return "unsafe"
        if self.latched:
            return "tripped"
        return "manual" if self.by_hand.lease is not None else self.conductor.state

    def beat(self) -> StationBeat:
        """Return this station's part of a heartbeat; called from another thread."""
        return latches.beat(self)


__all__ = ["Ask", "BadStation", "Station"]
