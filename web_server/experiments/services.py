"""The one door for changes to experiments; each function owns its transaction, row, audit and event.

Filing is in `filing`, the start in `queue`, what people ask of a running one in `control`, the
status itself in `states`, the contract in `contract`.
"""

from __future__ import annotations

from web_server.experiments.batch import file_many
from web_server.experiments.contract import Contract, draw_up
from web_server.experiments.control import (
    cancel,
    change,
    drill,
    note,
    pause,
    reorder,
    repeat,
    requeue,
    resume,
    skip_step,
    stop,
    stopped_by,
)
from web_server.experiments.filing import file, filed_before
from web_server.experiments.queue import start_next
from web_server.experiments.states import NEXT, WrongStatus, add_event, set_status

__all__ = [
    "NEXT",
    "Contract",
    "WrongStatus",
    "add_event",
    "cancel",
    "change",
    "draw_up",
    "drill",
    "file",
    "file_many",
    "filed_before",
    "note",
    "pause",
    "reorder",
    "repeat",
    "requeue",
    "resume",
    "set_status",
    "skip_step",
    "start_next",
    "stop",
    "stopped_by",
]
