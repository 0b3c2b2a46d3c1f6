"""What the unit tells Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cycler_unit.agent import Agent


def text(agent: Agent) -> str:
    """Return all metrics in the text format."""
    spool, session = agent.spool, agent.session
    lines = [
        _line("cellyard_unit_spool_rows", spool.pending_rows),
        _line("cellyard_unit_spool_events", spool.pending_events),
        _line("cellyard_unit_rejected_batches", spool.rejected_batches),
        _line("cellyard_unit_spool_failing", int(spool.failing is not None)),
        _line("cellyard_unit_connected", int(session is not None and session.link.connected)),
        _line("cellyard_unit_clock_offset_seconds", agent.clock.offset_s),
    ]
    if session is not None:
        lines += [
            _line("cellyard_unit_messages_dropped_total", session.link.dropped + session.dropped),
            _line("cellyard_unit_messages_malformed_total", session.malformed + session.commands.malformed),
            _line("cellyard_unit_batches_published_total", session.delivery.published),
        ]
    for station in agent.all():
        beat = station.beat()
        label = f'{{station="{beat.station}",state="{beat.state}"}}'
        lines += [
            _line(f"cellyard_unit_station_state{label}", 1),
            _line(f'cellyard_unit_station_rounds_total{{station="{beat.station}"}}', station.rounds),
            _line(f'cellyard_unit_station_overruns_total{{station="{beat.station}"}}', station.overruns),
        ]
        if beat.age_of_last_reading_s is not None:
            lines.append(
                _line(
                    f'cellyard_unit_station_reading_age_seconds{{station="{beat.station}"}}',
                    beat.age_of_last_reading_s,
                )
            )
    return "\n".join(lines) + "\n"


def _line(name: str, value: float) -> str:
    return f"{name} {value:g}"
