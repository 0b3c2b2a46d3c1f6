"""``GET /api/v1/stream/``: server-sent events.

Messages ``sample``, ``event``, ``alarm``, ``station`` and ``command``, each with the same body as its
resource; ``reading {device, at, values}`` only of devices that ``?device=`` names. ``?station=``,
``?experiment=``, ``?command=`` and ``?device=`` (comma-separated UUIDs) choose what comes;
without a filter everything does, but of samples only the newest of each experiment. The ``id`` of
each message is where the stream stands: sent back as ``Last-Event-ID`` (a browser does so by itself)
or ``?last_event_id=``, the stream goes on from there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from asgiref.sync import SyncToAsync
from django.db import Error, close_old_connections
from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import exceptions
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response

from web_server.api import hub
from web_server.api.feed import Cursor, Message, Wants
from web_server.api.schema import query
from web_server.api.views import Checked

log = logging.getLogger("web_server.api.stream")
# A client sees a lost connection within 5 s (ui.md "Live"): two of these fit.
HEARTBEAT_S = 2.0
# A browser comes back after this long.
RETRY_MS = 1000


class AnyAccept(BaseContentNegotiation):
    """A browser's EventSource accepts ``text/event-stream`` alone; errors are JSON all the same."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        """Return the first parser."""
        return parsers[0]

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        """Return the first renderer."""
        return renderers[0], renderers[0].media_type


class StreamView(Checked):
    """Events as they happen: samples, events, alarms, stations, commands."""

    content_negotiation_class = AnyAccept
    query_parameters = {"get": {"station", "experiment", "command", "device", "last_event_id"}}

    @extend_schema(
        operation_id="stream",
        parameters=[
            query("station", OpenApiTypes.STR, "UUIDs, comma-separated."),
            query("experiment", OpenApiTypes.STR, "UUIDs, comma-separated."),
            query("command", OpenApiTypes.STR, "UUIDs, comma-separated."),
            query("device", OpenApiTypes.STR, "UUIDs, comma-separated: their readings."),
            query("last_event_id", OpenApiTypes.STR, "Where to go on, as the header Last-Event-ID."),
        ],
        responses={(200, "text/event-stream"): OpenApiResponse(OpenApiTypes.STR, description=__doc__ or "")},
    )
    def get(self, request: Request) -> StreamingHttpResponse | Response:
        """Open an event stream."""
        wants = Wants(
            stations=_uuids(request, "station"),
            experiments=_uuids(request, "experiment"),
            commands=_uuids(request, "command"),
            devices=_uuids(request, "device"),
        )
        last = request.headers.get("Last-Event-ID") or request.query_params.get("last_event_id") or ""
        # The request goes on for hours: what it needed of the database it gives back now.
        close_old_connections()
        answer = StreamingHttpResponse(_messages(wants, Cursor.parse(last)), content_type="text/event-stream")
        answer["Cache-Control"] = "no-cache, no-transform"
        # nginx would collect the messages otherwise.
        answer["X-Accel-Buffering"] = "no"
        return answer


def _uuids(request: Request, name: str) -> frozenset[str]:
    given = [part for text in request.query_params.getlist(name) for part in text.split(",") if part.strip()]
    try:
        return frozenset(str(UUID(part.strip())) for part in given)
    except ValueError:
        raise exceptions.ValidationError({name: ["UUIDs, comma-separated"]}) from None


async def _messages(wants: Wants, cursor: Cursor) -> AsyncIterator[bytes]:
    """Yield the stream's bytes until the client goes, is too slow, or the process stops."""
    _give_thread_back()
    center = hub.of_this_loop()
    # At once, before the database is asked: the browser knows that it is connected.
    yield f"retry: {RETRY_MS}\n\n".encode()
    try:
        stream = await center.open(wants, cursor)
    except Error as exc:
        log.error("an event stream could not begin: %s", exc)
        yield b": the database does not answer\n\n"
        return
    position = stream.cursor
    try:
        while True:
            try:
                message = await asyncio.wait_for(stream.queue.get(), HEARTBEAT_S)
            except TimeoutError:
                # The comment keeps proxies awake; scripts in a page see only the named message.
                yield b": still here\nevent: ping\ndata: {}\n\n"
                continue
            if message is None:
                return
            position = _moved(position, message)
            yield _written(message, position)
    finally:
        center.leave(stream)


def _moved(position: Cursor, message: Message) -> Cursor:
    """Return where the stream stands after ``message``."""
    if message.event is not None:
        return position._replace(event=max(position.event or 0, message.event))
    if message.seq is not None and message.experiment is not None:
        return position._replace(samples={**position.samples, message.experiment: message.seq})
    return position


def _written(message: Message, position: Cursor) -> bytes:
    head = f"id: {position}\nevent: {message.kind}\ndata: ".encode()
    return head + message.body + b"\n\n"


def _give_thread_back() -> None:
    """End the thread that Django keeps for this request's synchronous parts.

    An event stream would hold it, idle, for hours; should the end of the request need one, a new
    one is made. Without this the stream works all the same.
    """
    context = SyncToAsync.thread_sensitive_context.get(None)
    executor = SyncToAsync.context_to_thread_executor.pop(context, None) if context else None
    if executor is not None:
        executor.shutdown(wait=False)
