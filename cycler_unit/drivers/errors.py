"""Errors of drivers; the class answers "retry or not?".

DriverError
├── DeviceLost      the link does not answer: reopen, off first (safety.md rule 6)
├── DeviceRefused   the device did not take a set point: do not retry
└── DeviceFault     the device is in an error state of its own: do not retry
"""

from __future__ import annotations


class DriverError(Exception):
    """Base of all driver errors; the text is one sentence for a person."""


class DeviceLost(DriverError):
    """The device does not answer or the link is gone."""


class DeviceRefused(DriverError):
    """A set point was not taken: the echo differs after one repeat."""


class DeviceFault(DriverError):
    """The device reports an error of its own."""
