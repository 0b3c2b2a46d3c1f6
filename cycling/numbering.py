"""Step numbers: from 1, depth first, groups and notes included, as the editor shows them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from cycling.steps import AnyStep, Group, Profile


class Numbered(msgspec.Struct, frozen=True):
    """A step with its number; ``path`` leads to it from the profile, as keys and indices."""

    number: int
    depth: int
    step: AnyStep
    path: tuple[str | int, ...]


def number(profile: Profile) -> list[Numbered]:
    """Return all steps in order; the steps of ``finish`` follow on."""
    found: list[Numbered] = []
    for root, steps in (("steps", profile.steps), ("finish", profile.finish)):
        for depth, step, path in _walk(steps, 0, (root,)):
            found.append(Numbered(len(found) + 1, depth, step, path))
    return found


def _walk(
    steps: Sequence[AnyStep], depth: int, path: tuple[str | int, ...]
) -> Iterator[tuple[int, AnyStep, tuple[str | int, ...]]]:
    for index, step in enumerate(steps):
        here = (*path, index)
        yield depth, step, here
        if isinstance(step, Group):
            yield from _walk(step.steps, depth + 1, (*here, "steps"))
