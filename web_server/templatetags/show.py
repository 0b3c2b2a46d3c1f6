"""Tags of the pages: icons, states, quantities, times. What they write is safe HTML."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from django import template
from django.http import QueryDict
from django.templatetags.static import static
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.html import format_html
from django.utils.safestring import SafeString

from web_server.experiments import saying
from web_server.lib import numbers, states, step_words

register = template.Library()
SPRITE = "vendor/tabler-icons-3.51.0/icons.svg"


@register.simple_tag
def icon(name: str) -> SafeString:
    """Write the icon ``name`` of the sprite, hidden from screen readers (a word stands beside it)."""
    return format_html(
        '<svg class="icon" aria-hidden="true" focusable="false"><use href="{}#{}"/></svg>',
        static(SPRITE),
        name,
    )


@register.simple_tag
def state(name: str | None, word: str = "", why: str = "") -> SafeString:
    """Write a state as icon, word and colour; ``why`` shows on hover."""
    name = name or "idle"
    return format_html(
        '<span class="state state-{}" data-state="{}" title="{}">{}<span>{}</span></span>',
        name,
        name,
        why,
        icon(states.icon(name)),
        word or states.word(name),
    )


@register.simple_tag
def missing(why: str = "not measured") -> SafeString:
    """Write "–", with the reason on hover."""
    return format_html('<span class="missing" title="{}">{}</span>', why, numbers.MISSING)


@register.simple_tag
def num(amount: Any, unit: str = "", why: str = "not measured") -> SafeString:
    """Write a quantity in SI ``unit`` with its automatic prefix; copying gives plain SI."""
    return _number(amount, unit, why, numbers.quantity)


@register.simple_tag
def fixed(amount: Any, unit: str = "", why: str = "not given") -> SafeString:
    """Write a number that somebody set, with the digits it was given."""
    return _number(amount, unit, why, numbers.setting)


def _number(amount: Any, unit: str, why: str, write: Callable[[float, str], str]) -> SafeString:
    if amount is None or amount == "":
        return missing(why)
    return format_html(
        '<data class="num" value="{}" data-unit="{}">{}</data>',
        numbers.plain(amount),
        unit,
        write(float(amount), unit),
    )


@register.simple_tag
def span(low: Any, high: Any, unit: str) -> SafeString:
    """Write limits: "2.5 V to 4.2 V"."""
    if low is None and high is None:
        return missing("no limit recorded")
    if low is None:
        return format_html("up to {}", fixed(high, unit))
    if high is None:
        return format_html("from {}", fixed(low, unit))
    if low == high:
        return fixed(low, unit)
    return format_html("{} to {}", fixed(low, unit), fixed(high, unit))


def _moment(at: Any) -> datetime | None:
    if isinstance(at, str):
        at = parse_datetime(at)
    if isinstance(at, datetime) and at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return at if isinstance(at, datetime) else None


@register.simple_tag
def when(at: Any, why: str = "not yet") -> SafeString:
    """Write a time relative to now, the exact one with its zone on hover."""
    moment = _moment(at)
    if moment is None:
        return missing(why)
    exact = moment.astimezone(UTC)
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        exact.isoformat(),
        exact.strftime("%Y-%m-%d %H:%M:%S UTC"),
        numbers.relative(exact, timezone.now()),
    )


@register.simple_tag
def lasted(seconds: Any, why: str = "not known") -> SafeString:
    """Write a length of time in words."""
    if seconds is None:
        return missing(why)
    return format_html(
        '<data class="num" value="{}" data-unit="s">{}</data>', seconds, numbers.duration(float(seconds))
    )


@register.filter
def get(mapping: Mapping[str, Any], key: str) -> Any:
    """Return ``mapping[key]`` or None."""
    return mapping.get(key) if mapping else None


@register.filter
def words(name: Any) -> str:
    """Write a name of the code as words: "redox_stack" becomes "redox stack"."""
    return str(name or "").replace("_", " ")


@register.simple_tag(takes_context=True)
def address(context: Mapping[str, Any], **changes: Any) -> str:
    """Return this page's query with ``changes``; None or "" takes a parameter away."""
    query: QueryDict = context["request"].GET.copy()
    for name, wanted in changes.items():
        query.pop(name, None)
        if wanted not in (None, ""):
            query[name] = str(wanted)
    return "?" + query.urlencode()


@register.inclusion_tag("parts/column_head.html", takes_context=True)
def column(context: Mapping[str, Any], name: str, label: str, css: str = "") -> dict[str, Any]:
    """Write a column's head that sorts by ``name``, up then down."""
    now = context["request"].GET.get("sort", context.get("default_sort", ""))
    up, down = now == name, now == f"-{name}"
    return {
        "label": label,
        "css": css,
        "up": up,
        "down": down,
        "href": address(context, sort=f"-{name}" if up else name, after=None, page=None),
    }


@register.filter
def step_title(step: Mapping[str, Any]) -> str:
    """Write what a step is called."""
    return step_words.title(step)


@register.filter
def step_says(step: Mapping[str, Any]) -> str:
    """Write a step as a sentence."""
    return step_words.describe(step)


@register.filter
def step_tag(step: Mapping[str, Any]) -> SafeString:
    """Write the short name of a step's kind."""
    short = step_words.KINDS.get(step["kind"], (step["kind"], ""))[0]
    return format_html('<span class="kind-tag kind-{}">{}</span>', step_words.direction(step), short)


@register.filter
def hexid(number: Any) -> str:
    """Write the id of a CAN frame in hex."""
    return f"0x{number:03X}" if isinstance(number, int) else numbers.MISSING


@register.filter
def frame_words(decoded: Mapping[str, Any]) -> str:
    """Write a decoded frame in one line: its name, then its signals."""
    units = decoded.get("units") or {}
    parts = [
        f"{name} {given} {units.get(name, '')}".rstrip()
        for name, given in (decoded.get("signals") or {}).items()
    ]
    return f"{decoded.get('name', '')}: {', '.join(parts)}"


@register.filter
def percent(part_of_one: Any) -> str:
    """Write a part of one as percent."""
    return numbers.MISSING if part_of_one is None else f"{float(part_of_one) * 100:.2f} %"


@register.simple_tag
def alarm_numbers(alarm: Any) -> str:
    """Write what was measured against which limit."""
    reason = {"measured": alarm.measured, "limit": alarm.limit, "quantity": alarm.quantity}
    return saying.numbers_of(reason)


# A profile's safety limits in words, with their units.
_SAFETY = {
    "v_max_v": ("Voltage at most", "V"),
    "v_min_v": ("Voltage at least", "V"),
    "i_max_a": ("Charge at most", "A"),
    "i_min_a": ("Discharge at most", "A"),
    "p_abs_max_w": ("Power at most", "W"),
    "q_abs_max_ah": ("Net charge at most", "Ah"),
    "temp_max_c": ("Temperature at most", "°C"),
    "temp_min_c": ("Temperature at least", "°C"),
}
_SAFETY_TIMES = {"delay_s": "Trip after", "run_max_s": "Whole run at most", "max_step_s": "One step at most"}


@register.filter
def safety_lines(safety: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Return the safety limits of a profile as pairs of words and text."""
    given = dict(safety or {})
    lines = [
        (words_of, numbers.setting(given[name], unit))
        for name, (words_of, unit) in _SAFETY.items()
        if given.get(name) is not None
    ]
    lines += [
        (words_of, numbers.duration(given[name]))
        for name, words_of in _SAFETY_TIMES.items()
        if given.get(name) is not None
    ]
    for limit in given.get("measures") or []:
        parts = [
            f"at least {limit['min']:g}" if limit.get("min") is not None else "",
            f"at most {limit['max']:g}" if limit.get("max") is not None else "",
        ]
        lines.append((str(limit["name"]), ", ".join(part for part in parts if part)))
    return lines


@register.simple_tag
def once() -> str:
    """Return the number of one filing: the button that is pressed twice files once."""
    return str(uuid4())
