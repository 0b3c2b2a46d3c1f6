"""The flow meter on an Arduino Uno with two turbine sensors (source: the project's device sheet, section 7).

Its text protocol is no SCPI: exact, case-sensitive, one command a line ended by LF alone (a CR is an error), no
short forms, never more than 100 characters. Opening its port restarts it: the link waits (``open_wait_s``), and
its identity is asked every 0.1 s for 3 s.

The value is computed at each pulse and **never returns to zero** when the flow stops: equal readings for the
catalogue's ``frozen_s`` count as missing, there is no other sign of a stopped pump.
"""

from __future__ import annotations

import re
import time
from typing import Any

from cycler_unit.buses.transport import Transport
from cycler_unit.drivers.base import Identity, Measured
from cycler_unit.drivers.errors import DeviceLost, DeviceRefused
from cycler_unit.drivers.text import TextDevice

ASK_IDENTITY = ":IDN*?"
ASK_FLOW = ":MEASure:FLOW?"
IDENTITY = re.compile(r"^:IDN:FLOWmeter:DEVice:(?P<device>[^:]+):VERsion:(?P<version>[^:]+)$")
# Without padding and in steps of 10, as it counts: a line that lost a character is seldom one of these.
NUMBER = r"0|[1-9][0-9]{0,3}0"
FLOW = re.compile(rf"^:MEASure:FLOW:DATA:(?P<main>{NUMBER}):(?P<aux>{NUMBER})$")
# The sensors reach 10 L/min; nothing that flows reads twice that.
MOST_ML_MIN = 20000
# How long and how often it is asked who it is while it starts.
RETRY_S = 3.0
RETRY_EVERY_S = 0.1


class FlowMeter(TextDevice):
    """Read both sensors in mL/min. ``retry_s`` in the link settings replaces the 3 s."""

    kind = "arduino-flow-meter"

    def __init__(self, link: dict[str, Any], *, name: str = "", transport: Transport | None = None) -> None:
        super().__init__(link, name=name, transport=transport)
        self.retry_s = float(link.get("retry_s", RETRY_S))

    @staticmethod
    def identity_of(answer: str) -> Identity:
        """Cut ``:IDN:FLOWmeter:DEVice:001:VERsion:2``; raise ``ValueError`` for anything else."""
        found = IDENTITY.match(answer.strip())
        if found is None:
            raise ValueError(f"not a flow meter: {answer!r}")
        return Identity("Arduino", "FLOWmeter", found["device"], found["version"])

    def open(self) -> Identity:
        """Connect and ask who it is until it has started; raise ``DeviceLost`` or ``DeviceRefused``."""
        with self._lock:
            self.transport.open()
            until_s = time.monotonic() + self.retry_s
            while True:
                answer, trouble = self._try_identity()
                if trouble is None:
                    return self.identity_of(answer)
                if time.monotonic() >= until_s:
                    self.close()
                    raise trouble
                time.sleep(RETRY_EVERY_S)

    def _try_identity(self) -> tuple[str, DeviceLost | DeviceRefused | None]:
        try:
            answer = self.transport.query(ASK_IDENTITY)
        except DeviceLost as error:
            return "", error
        if IDENTITY.match(answer):
            return answer, None
        return answer, DeviceRefused(f"the device at this link answers {answer!r}: not a flow meter")

    def read(self) -> Measured:
        """Read both flows by one exchange; an answer that is another one is asked for once more."""
        with self._lock:
            before_ns = time.time_ns()
            began_s = time.monotonic()
            found = flows_of(self.transport.query(ASK_FLOW)) or flows_of(self.transport.query(ASK_FLOW))
            middle_us = (before_ns + time.time_ns()) // 2000
        main, aux = found or (None, None)
        values = {"flow_main_ml_min": main, "flow_aux_ml_min": aux}
        return Measured(None, None, None, began_s, middle_us, values)


def flows_of(answer: str) -> tuple[float, float] | None:
    """Cut both flows out of an answer; None for any other line."""
    found = FLOW.match(answer)
    if found is None:
        return None
    main, aux = float(found["main"]), float(found["aux"])
    return (main, aux) if max(main, aux) <= MOST_ML_MIN else None
