"""Codes of end reasons, so that every part of the system tests the same words."""

from __future__ import annotations

from typing import Final

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
# Violations: beyond a trip value; a value that a limit needs is missing; `then: fail`; a stored result
# outside its range; run_max_s; max_step_s; a set point outside the envelope.
LIMIT: Final = "limit"
MISSING: Final = "missing"
STEP_FAILED: Final = "step_failed"
STORE: Final = "store"
RUN_MAX: Final = "run_max"
STEP_MAX: Final = "step_max"
SET_POINT: Final = "set_point"

# The normal ends of an experiment; everything else is a violation or a person's stop.
NORMAL: Final = frozenset({COMPLETED, STOP, STOP_RULE})
