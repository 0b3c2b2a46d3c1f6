"""Figures of a run and the table that shows them beside their goals."""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One measured quantity; ``goal`` is what it must stay below, None where there is none."""

    name: str
    measured: float
    unit: str
    goal: float | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        """Say whether the goal is met."""
        if self.goal is None:
            return ""
        return "ok" if self.measured < self.goal else "MISSED"


def percentile(figures: Sequence[float], percent: float) -> float:
    """Return the nearest-rank percentile of some measurements."""
    ranked = sorted(figures)
    return ranked[min(len(ranked) - 1, max(0, math.ceil(len(ranked) * percent / 100 - 1e-9) - 1))]


def load() -> str:
    """Say how much waits for the processors now: a figure means little without it."""
    return f"load {os.getloadavg()[0]:.1f}"


def spread(name: str, seconds: Sequence[float], goal_s: float | None = None, note: str = "") -> list[Figure]:
    """Return p50 and p95 of durations in milliseconds; the goal is for p50."""
    p50, p95 = statistics.median(seconds) * 1000, percentile(seconds, 95) * 1000
    count = f"{len(seconds)} measured" + (f"; {note}" if note else "")
    goal_ms = goal_s * 1000 if goal_s is not None else None
    return [Figure(f"{name}, p50", p50, "ms", goal_ms, count), Figure(f"{name}, p95", p95, "ms")]


# Fewer measurements say nothing about the slowest of a thousand.
FOR_PERMILLE = 1000


def tail(name: str, seconds: Sequence[float], goal_s: float | None = None, note: str = "") -> list[Figure]:
    """Return p50, p99 and p99.9 of durations in ms; the goal is for the last, which is the maximum of a few."""
    count = f"{len(seconds)} measured" + (f"; {note}" if note else "")
    enough = len(seconds) >= FOR_PERMILLE
    last = ("p99.9", percentile(seconds, 99.9)) if enough else ("maximum", max(seconds))
    figures = [("p50", statistics.median(seconds)), ("p99", percentile(seconds, 99)), last]
    if enough:
        figures.insert(2, ("maximum", max(seconds)))
    goal_ms = goal_s * 1000 if goal_s is not None else None
    return [
        Figure(
            f"{name}, {what}", value * 1000, "ms", goal_ms if what == last[0] else None,
            count if what == "p50" else "",
        )
        for what, value in figures
    ]  # fmt: skip


def table(figures: Sequence[Figure]) -> str:
    """Return the figures as aligned lines."""
    rows = [("figure", "measured", "goal", "", "")]
    for each in figures:
        goal = f"< {each.goal:g} {each.unit}" if each.goal is not None else ""
        rows.append((each.name, f"{each.measured:.1f} {each.unit}", goal, each.verdict, each.note))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        f"{row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:<{widths[2]}}  {row[3]:<{widths[3]}}  {row[4]}"
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)
