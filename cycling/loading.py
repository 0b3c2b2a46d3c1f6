"""Turn plain data (from JSON) into a profile, collecting every problem and raising for none."""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import isfinite
from typing import Any, get_args

import msgspec

from cycling import structs
from cycling.problem import Problem
from cycling.steps import AnyStep, Group, Profile

# Deeper nesting is a mistake, and would exhaust the stack of whoever walks the steps.
MAX_DEPTH = 20
# More steps than this in one profile do not fit into a start message (wire.md: 900 kB).
MAX_STEPS = 10_000

_TYPES: dict[str, type[msgspec.Struct]] = {kind.__struct_config__.tag: kind for kind in get_args(AnyStep)}


def load(data: object, strict: bool = True) -> tuple[Profile | None, list[Problem]]:
    """Return the profile, or None and everything that is wrong with ``data``.

    ``strict`` refuses fields that the step model does not have; otherwise they are left out.
    """
    if not isinstance(data, dict):
        return None, [Problem(message=f"A profile is an object, not {_name(data)}.")]
    problems: list[Problem] = []
    count = [0]
    parts: dict[str, list[AnyStep]] = {}
    for root in ("steps", "finish"):
        raw = data.get(root, [])
        if root == "steps" and "steps" not in data:
            problems.append(Problem(field="steps", message="A profile needs steps."))
        parts[root] = _steps(raw, root, 0, strict, count, problems)
    head = {key: value for key, value in data.items() if key not in ("steps", "finish")}
    profile = _convert({**head, "steps": []}, Profile, strict, problems, None, None)
    if problems or not isinstance(profile, Profile):
        return None, problems
    profile.steps, profile.finish = parts["steps"], parts["finish"]
    return profile, []


def _steps(
    raw: object, field: str, depth: int, strict: bool, count: list[int], problems: list[Problem]
) -> list[AnyStep]:
    if not isinstance(raw, list):
        problems.append(Problem(field=field, message=f"{field} is a list of steps, not {_name(raw)}."))
        return []
    if depth > MAX_DEPTH:
        problems.append(Problem(field=field, message=f"Groups nest deeper than {MAX_DEPTH}: flatten them."))
        return []
    loaded: list[AnyStep] = []
    for item in raw:
        count[0] += 1
        if count[0] > MAX_STEPS:
            if count[0] == MAX_STEPS + 1:
                problems.append(Problem(field=field, message=f"More than {MAX_STEPS} steps: use groups."))
            return loaded
        step = _step(item, depth, strict, count, problems)
        if step is not None:
            loaded.append(step)
    return loaded


def _step(
    item: object, depth: int, strict: bool, count: list[int], problems: list[Problem]
) -> AnyStep | None:
    number = count[0]
    if not isinstance(item, dict):
        problems.append(Problem(step=number, message=f"A step is an object, not {_name(item)}."))
        return None
    label = item.get("label") if isinstance(item.get("label"), str) else None
    kind = item.get("kind")
    if not isinstance(kind, str) or kind not in _TYPES:
        known = ", ".join(_TYPES)
        said = "has no kind" if kind is None else f"has the unknown kind {kind!r}"
        problems.append(
            Problem(step=number, label=label, field="kind", message=f"It {said}; one of {known}.")
        )
        return None
    children: list[AnyStep] = []
    own = item
    if kind == "group":
        children = _steps(item.get("steps", []), "steps", depth + 1, strict, count, problems)
        own = {**item, "steps": []}
    step: Any = _convert(own, _TYPES[kind], strict, problems, number, label)
    if isinstance(step, Group):
        step.steps = children
    return step  # type: ignore[no-any-return]


def _convert(
    raw: dict[str, Any],
    into: type[msgspec.Struct],
    strict: bool,
    problems: list[Problem],
    number: int | None,
    label: str | None,
) -> Any:
    """Convert one object, adding its problems with the number and label of its step."""
    for field in _not_finite(raw, ""):
        problems.append(
            Problem(step=number, label=label, field=field, message=f"{field} must be a finite number.")
        )
    try:
        part = msgspec.convert(raw, into)
    except (msgspec.ValidationError, RecursionError) as error:
        sentence, place = _sentence(str(error))
        problems.append(Problem(step=number, label=label, field=place, message=sentence))
        return None
    if strict:
        for field in _unknown(raw, part, ""):
            problems.append(
                Problem(step=number, label=label, field=field, message=f"There is no field {field!r} here.")
            )
    return part


_TYPE_WORDS = {"float": "a number", "int": "a whole number", "str": "text", "bool": "true or false"}
_TYPE_WORDS |= {"null": "nothing", "array": "a list", "object": "an object"}


def _sentence(error: str) -> tuple[str, str | None]:
    """Split msgspec's ``Expected `float`, got `str` - at `$.end[0].value``` into message and field."""
    match = re.fullmatch(r"(.*) - at `\$\.?(.*)`", error, re.DOTALL)
    message = match.group(1) if match else error
    field: str | None = (match.group(2) or None) if match else None
    missing = re.fullmatch(r"Object missing required field `(\w+)`", message)
    if missing:
        field = f"{field}.{missing.group(1)}" if field else missing.group(1)
        return f"{field} is missing.", field
    kinds = re.fullmatch(r"Expected `(.*)`, got `(.*)`", message)
    if kinds:
        wanted, got = (" or ".join(_TYPE_WORDS.get(t, t) for t in k.split(" | ")) for k in kinds.groups())
        message = f"must be {wanted}, not {got}"
        return f"{field or 'It'} {message}.", field
    return (f"{field}: {message}." if field else f"{message}."), field


def _unknown(raw: Any, part: Any, path: str) -> Iterator[str]:
    """Yield the paths of keys in ``raw`` that the structure ``part`` does not have."""
    if isinstance(part, msgspec.Struct) and isinstance(raw, dict):
        tag = part.__struct_config__.tag_field
        for key, value in raw.items():
            here = f"{path}.{key}" if path else str(key)
            if key in part.__struct_encode_fields__:
                yield from _unknown(value, getattr(part, key), here)
            elif key != tag:
                yield here
    elif isinstance(part, list) and isinstance(raw, (list, tuple)):
        for index, (value, item) in enumerate(zip(raw, part, strict=False)):
            yield from _unknown(value, item, f"{path}[{index}]")


def _not_finite(raw: Any, path: str, depth: int = 0) -> Iterator[str]:
    """Yield the paths of numbers that are infinite or not a number (Python's JSON reads them)."""
    if depth > MAX_DEPTH:
        return
    if isinstance(raw, dict):
        for key, value in raw.items():
            yield from _not_finite(value, f"{path}.{key}" if path else str(key), depth + 1)
    elif isinstance(raw, (list, tuple)):
        for index, value in enumerate(raw):
            yield from _not_finite(value, f"{path}[{index}]", depth + 1)
    elif (isinstance(raw, float) and not isfinite(raw)) or (isinstance(raw, int) and abs(raw) > 1e300):
        yield path


def _name(value: object) -> str:
    names = {type(None): "nothing", str: "text", list: "a list", bool: "true or false", dict: "an object"}
    return names.get(type(value), "a number")


# By the thread that imports this: profiles are converted by several at once, the first time too.
structs.build()
