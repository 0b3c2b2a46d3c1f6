"""What to do about an alarm: a few words per kind, for somebody who is woken by it."""

from __future__ import annotations

from web_server.experiments.models import Alarm

_ON = (
    "Go there. Switch off at the last line of defence; do not rely on the page.",
    "Only when the station reads no current: look for the cause, then acknowledge.",
)
_BATTERY = (
    "Look at the battery: swelling, smell, heat. If in doubt leave it alone and get help.",
    "Measure its voltage by hand, and record an inspection on its page: until then no station starts it.",
    "Acknowledge the alarm; the station is then free again.",
)
_WIRING = (
    "Look at the leads: polarity, sense wires, contact, and whether it is the right cell.",
    "Acknowledge the alarm, then file the experiment again.",
)
_DEVICE = (
    "Look at the device: is it powered, connected, does its panel show an error?",
    "When it answers again and reads no current, acknowledge the alarm and file the experiment again.",
)
_HELD = (
    "The test is paused with its output off. Look at battery and station.",
    "Acknowledge the alarm, then resume the test, or stop it.",
)
_ANY = ("Look at the station and the battery.", "When you know the cause, acknowledge the alarm.")

_BY_CODE = {
    "held": _HELD,
    "wiring": _WIRING,
    "sense": _WIRING,
    "contract": ("The test was changed on its way, or the unit's devices are others: file it again.",),
    "protection": _DEVICE,
    "device_fault": _DEVICE,
    "device_error": _DEVICE,
    "missing": _DEVICE,
    "lost": _DEVICE,
    "device_silent": (
        "The test goes on: nothing in it needed this device so far. Look at its power and its link when you can.",
        "Acknowledge the warning; it is told again when the device answers and falls silent once more.",
    ),
    "record_lost": (
        "Nobody knows whether this station was tripped, and why: look at the battery and the station.",
        "Look for older alarms of this station in the list. Only then acknowledge.",
    ),
    "interlock": (
        "Look at what opened: door, smoke, gas, chamber, mains or the stop button.",
        "When it is closed and safe, acknowledge the alarm of every station of the zone.",
    ),
    "draining": (
        "The battery loses more than the station's known leak: take it out and look at it.",
        "Acknowledge the alarm when it is out or explained.",
    ),
}
_BATTERY_QUANTITIES = ("voltage", "temperature", "charge", "cell")


def about(alarm: Alarm) -> tuple[str, ...]:
    """Return the steps, in order."""
    if alarm.severity == Alarm.Severity.UNSAFE:
        return _ON
    if alarm.code in _BY_CODE:
        return _BY_CODE[alarm.code]
    return _BATTERY if alarm.quantity.startswith(_BATTERY_QUANTITIES) else _ANY
