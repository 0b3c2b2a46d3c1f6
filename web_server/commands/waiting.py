"""Hold an answer until a command is closed."""

from __future__ import annotations

import math
import time

from django.db import connection
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.response import Response

from web_server.api.fields import written
from web_server.commands.models import Command

LONGEST_WAIT_S = 30.0
# The goal is 40 ms from call to answer; a look costs 0.1 ms on its key.
EAGER_PERIOD_S = 0.002
EAGER_FOR_S = 0.5
# An answer that did not come by then depends on the unit, not on us.
PATIENT_PERIOD_S = 0.02
_OPEN = (Command.Status.QUEUED, Command.Status.SENT)
# What changes after a command was issued; the rest, above all its experiment's contract, is not read again.
_CHANGING = [
    "status",
    "outcome",
    "result",
    "reason",
    "manager",
    "sent_at",
    "sends",
    "closed_at",
    "updated_at",
]


def seconds_to_wait(request: Request) -> float:
    """Return ``?wait=`` in seconds; 0 without."""
    text = request.query_params.get("wait", "0")
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= LONGEST_WAIT_S:
        raise exceptions.ValidationError({"wait": [f"seconds, 0 to {LONGEST_WAIT_S:g}"]})
    return seconds


def until_closed(command: Command, seconds: float) -> Command:
    """Return ``command`` as it is once its unit has answered, or after ``seconds``."""
    began = time.monotonic()
    while seconds > 0:
        status = _status(command.pk)
        waited = time.monotonic() - began
        if status not in _OPEN or waited >= seconds:
            break
        period = EAGER_PERIOD_S if waited < EAGER_FOR_S else PATIENT_PERIOD_S
        time.sleep(min(period, seconds - waited))
    command.refresh_from_db(fields=_CHANGING)
    return command


def _status(key: int) -> str:
    """Look at one column by its key: through the ORM, which makes the query anew, it takes five times as long."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT status FROM {Command._meta.db_table} WHERE id = %s", [key])
        (status,) = cursor.fetchone()
    return str(status)


def answer_with(command: Command) -> Response:
    """Answer with a command just issued."""
    from web_server.commands.api import CommandBody

    return Response(written(CommandBody, command), status=201)
