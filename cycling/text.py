"""The seed's text form: one instruction a line, ``MODE, value, LIMIT, value``; WAIT has a time only.

In s, A, V, W, Ah. Blanks, case, blank lines and ``#`` comments do not matter; a limit of -1 is none.
"""

from __future__ import annotations

from math import isfinite
from typing import Literal

from cycling.numbering import number
from cycling.problem import Problem
from cycling.steps import CC, CP, CV, AnyStep, End, Group, Note, Origin, Profile, Rest, Safety, Step

LIMITS = ("TIME", "VOLTAGE", "CURRENT", "POWER", "CAPACITY")
MODES = ("WAIT", "CC", "CV", "CP")
_QUANTITIES = {
    "TIME": "time_s",
    "VOLTAGE": "voltage_v",
    "CURRENT": "current_abs_a",
    "POWER": "power_abs_w",
    "CAPACITY": "charge_ah",
}
# What -1 means: the longest time of any step.
NO_LIMIT_S = Safety().max_step_s


class CannotWrite(ValueError):
    """The profile says something that the text form cannot; the message names step and reason."""


class _Wrong(ValueError):
    """A line that is no instruction, in one sentence."""


def parse(text: str, name: str) -> tuple[Profile | None, list[Problem]]:
    """Return the profile that ``text`` describes, or None and a problem for each wrong line.

    A CV takes the current of the nearest CC before it as its compliance; without one it is bounded by
    the envelope when it runs. What was filled in is written to ``origin.losses``.
    """
    steps: list[AnyStep] = []
    problems: list[Problem] = []
    filled: list[str] = []
    compliance_a: float | None = None
    # Some editors begin a file with a byte order mark.
    for line, raw in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        words = raw.split("#", 1)[0].strip()
        if not words:
            continue
        try:
            step = _line([word.strip() for word in words.split(",")])
        except _Wrong as error:
            problems.append(Problem(line=line, message=str(error)))
            continue
        if isinstance(step, CC) and step.current_a is not None:
            compliance_a = abs(step.current_a)
        elif isinstance(step, CV):
            step.current_max_a = compliance_a
            filled.append(_filled(line, compliance_a))
        steps.append(step)
    if not steps and not problems:
        problems.append(
            Problem(message="The text has no instruction: write one a line, like CC, 1.5, VOLTAGE, 4.2.")
        )
    if problems:
        return None, problems
    origin = Origin(format="text", version="1", text=text, losses=filled)
    return Profile(name=name, steps=steps, origin=origin), []


def _filled(line: int, compliance_a: float | None) -> str:
    if compliance_a is None:
        return f"line {line}: no CC before the CV; its current is bounded by battery, devices and station"
    return f"line {line}: the CV's largest current is that of the CC before it, {compliance_a:g} A"


def _line(words: list[str]) -> AnyStep:
    mode = words[0].upper()
    if mode not in MODES:
        raise _Wrong(f"{words[0]!r} is no mode; use one of {', '.join(MODES)}.")
    if mode == "WAIT":
        if len(words) != 2:
            raise _Wrong("WAIT has one value, its time in s, like WAIT, 60.")
        return Rest(end=[_time(_number(words[1], "the time"))])
    if len(words) != 4:
        raise _Wrong(f"{mode} has a value, a limit and its value, like {mode}, {_EXAMPLES[mode]}.")
    value = _number(words[1], "the set point")
    if value == 0:
        raise _Wrong(f"{mode} with 0 does nothing: use WAIT.")
    end = _end(mode, value, words[2].upper(), _number(words[3], "the limit"))
    if mode == "CC":
        return CC(current_a=value, end=[end])
    if mode == "CP":
        return CP(power_w=value, end=[end])
    return CV(voltage_v=value, end=[end])


_EXAMPLES = {"CC": "1.5, VOLTAGE, 4.2", "CV": "4.2, CURRENT, 0.05", "CP": "-20, TIME, 600"}


def _number(word: str, what: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = float("nan")
    # float() also reads "1_000", "nan" and "inf", none of which anybody means here.
    if not isfinite(value) or "_" in word:
        raise _Wrong(f"{word!r} is no number: {what} must be one, like 1.5.")
    return value


def _time(value: float) -> End:
    if value == -1:
        value = NO_LIMIT_S
    if value <= 0:
        raise _Wrong(f"The time {value:g} must be above 0 s (or -1 for no limit).")
    return End(quantity="time_s", op="above", value=value)


def _end(mode: str, value: float, limit: str, at: float) -> End:
    if limit not in LIMITS:
        raise _Wrong(f"{limit!r} is no limit; use one of {', '.join(LIMITS)}.")
    if limit == "TIME" or at == -1:
        return _time(at)
    op = _op(mode, value > 0, limit)
    if at < 0 or (at == 0 and limit in ("VOLTAGE", "CAPACITY")):
        raise _Wrong(f"The limit {limit} {at:g} must be above 0 (or -1 for none): limits are magnitudes.")
    return End(quantity=_QUANTITIES[limit], op=op, value=at)


def _op(mode: str, charging: bool, limit: str) -> Literal["above", "below"]:
    """Return from which side the limit is met, by what the mode makes of the quantity."""
    if limit == "CAPACITY":
        return "above"
    if (mode, limit) in (("CC", "CURRENT"), ("CV", "VOLTAGE"), ("CP", "POWER")):
        raise _Wrong(f"{mode} keeps its {limit.lower()}: it cannot end on it, choose another limit.")
    if mode == "CV":
        return "below"
    if mode == "CP" and limit == "CURRENT":
        # At constant power the current falls as the voltage rises.
        return "below" if charging else "above"
    return "above" if charging else "below"


def write(profile: Profile) -> str:
    """Return the profile as text, loops unrolled; parsing it again gives the same steps.

    Raises ``CannotWrite`` for more than one end, a mode the text form lacks, or a field it has no
    place for.
    """
    numbers = {id(here.step): here.number for here in number(profile)}
    if profile.finish:
        raise CannotWrite("The text form has no finish steps.")
    if profile.stop is not None:
        raise CannotWrite("The text form has no stop rule.")
    if _length(profile.steps) > MAX_LINES:
        raise CannotWrite(f"Unrolled, the profile has more than {MAX_LINES} lines.")
    lines: list[str] = []
    compliance_a: list[float | None] = [None]
    _write(profile.steps, profile, numbers, lines, compliance_a)
    return "\n".join(lines) + "\n"


# More lines than this are no text that anybody reads.
MAX_LINES = 100_000


def _length(steps: list[AnyStep]) -> int:
    return sum(s.count * _length(s.steps) if isinstance(s, Group) else 1 for s in steps)


def _write(
    steps: list[AnyStep],
    profile: Profile,
    numbers: dict[int, int],
    lines: list[str],
    compliance_a: list[float | None],
) -> None:
    for step in steps:
        if isinstance(step, Group):
            for _ in range(step.count):
                _write(step.steps, profile, numbers, lines, compliance_a)
        elif isinstance(step, Note):
            lines += [f"# {part}" for part in step.text.splitlines()]
        else:
            try:
                lines.append(_instruction(step, profile, compliance_a))
            except _Wrong as error:
                raise CannotWrite(f"Step {numbers[id(step)]}: {error}") from None


_COMMON = ("record", "safety", "store", "rate_of", "soc_after", "temperature_c")


def _instruction(step: AnyStep, profile: Profile, compliance_a: list[float | None]) -> str:
    if not isinstance(step, (Rest, CC, CV, CP)):
        raise _Wrong(f"The text form has no {step.__struct_config__.tag}.")
    defaults = Step()
    for name in (*_COMMON, "outputs", "dcir_at_s", "skip_if_met", "settle_s"):
        if getattr(step, name) != getattr(defaults, name):
            raise _Wrong(f"The text form has no place for {name}.")
    if len(step.end) != 1:
        raise _Wrong(f"The text form has one end, not {len(step.end)}.")
    end = step.end[0]
    if end != End(quantity=end.quantity, value=end.value, op=end.op) and end.then not in (None, "next"):
        raise _Wrong("The text form has only plain ends that go on with the next line.")
    if end.hold_s or end.after_s or end.over_s or end.of:
        raise _Wrong("The text form has no hold_s, after_s, over_s or of.")
    limits = {quantity: limit for limit, quantity in _QUANTITIES.items()}
    if end.quantity not in limits:
        raise _Wrong(f"The text form has no limit on {end.quantity}.")
    limit = limits[end.quantity]
    if isinstance(step, Rest):
        if limit != "TIME" or step.isolate:
            raise _Wrong("WAIT ends on its time only and isolates nothing.")
        return f"WAIT, {_text(end.value)}"
    mode, value = _set_point(step, profile, compliance_a)
    if limit != "TIME" and end.op != "auto" and end.op != _op(mode, value > 0, limit):
        raise _Wrong(f"The text form ends {mode} on {limit} only from the other side.")
    return f"{mode}, {_text(value)}, {limit}, {_text(end.value)}"


def _set_point(step: CC | CV | CP, profile: Profile, compliance_a: list[float | None]) -> tuple[str, float]:
    if isinstance(step, CC):
        if step.clip is not None or step.current_a is None:
            raise _Wrong("The text form has no clip and no rates: give current_a.")
        compliance_a[0] = abs(step.current_a)
        return "CC", step.current_a
    if isinstance(step, CP):
        if step.clip is not None or step.current_max_a is not None:
            raise _Wrong("The text form has no clip and no current_max_a for CP.")
        return "CP", step.power_w
    if step.rate_max is not None or step.current_max_a != compliance_a[0]:
        raise _Wrong("The text form gives a CV the current of the CC before it, and no other.")
    return "CV", step.voltage_v


def _text(value: float) -> str:
    """Return the shortest text that reads back as the same number."""
    text = repr(float(value))
    return text[:-2] if text.endswith(".0") else text
