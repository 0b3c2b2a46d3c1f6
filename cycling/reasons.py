"""Codes of end reasons, so that every part of the system tests the same words."""

from __future__ import annotations

from typing import Final

from cycling.sensors import cell_temperatures, cell_voltages

# A step's: one of its ends was met; it ended by itself; a wait was over.
END: Final = "end"
DONE: Final = "done"
# A step was over before it began (skip_if_met).
SKIPPED: Final = "skipped"
# An experiment's normal ends: all steps done; `then: stop`; the profile's stop rule.
COMPLETED: Final = "completed"
STOP: Final = "stop"
STOP_RULE: Final = "stop_rule"
# A person stopped the experiment or skipped the step.
PERSON: Final = "person"
# Nothing was heard of the server for too long (safety.md rule 9).
CONTACT: Final = "contact"
# Violations: beyond a trip value; a value that a limit needs is missing; `then: fail`; a stored result
# outside its range; run_max_s; max_step_s; a set point outside the envelope.
LIMIT: Final = "limit"
MISSING: Final = "missing"
STEP_FAILED: Final = "step_failed"
STORE: Final = "store"
RUN_MAX: Final = "run_max"
STEP_MAX: Final = "step_max"
SET_POINT: Final = "set_point"
# A loaded battery left its limits, or empties, though no test runs (safety.md rule 17).
DRAINING: Final = "draining"

# The normal ends of an experiment; everything else is a violation or a person's stop.
NORMAL: Final = frozenset({COMPLETED, STOP, STOP_RULE})


def quarantines(code: str, quantity: str | None) -> bool:
    """Say whether a trip of this cause may have hurt the battery, so that nothing starts it again.

    Voltage, temperature, charge budget and cell spread (safety.md rule 7), until a person has inspected it.
    """
    if code not in (LIMIT, DRAINING) or quantity is None:
        return False
    if quantity == "voltage_v" or quantity.startswith(("temperature_", "charge_")):
        return True
    names = (quantity,)
    return quantity == "cell_spread_v" or bool(cell_voltages(names) or cell_temperatures(names))
