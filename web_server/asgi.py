"""Entry point of gunicorn: the site as an ASGI application."""

import os
import sys
import warnings

import django
from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest
from django.http.response import HttpResponseBase

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "web_server.settings")


class OneHop(ASGIHandler):
    """Serve each request in one thread, from the first middleware to the view.

    All views are synchronous (the event stream too: only its body is asynchronous). Django would
    run each of a dozen middlewares by two hops between loop and thread: measured 1 ms of a request's
    4 ms. An asynchronous view works here too, but holds its thread.
    """

    def load_middleware(self, is_async: bool = False) -> None:
        """Build the chain of synchronous middlewares."""
        super().load_middleware(is_async=False)

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        """Answer in the request's own thread."""
        return await sync_to_async(self.get_response, thread_sensitive=True)(request)


# WhiteNoise hands out files as plain iterators; read whole, the largest is some 500 kB.
warnings.filterwarnings("ignore", message="StreamingHttpResponse must consume synchronous iterators")
try:
    django.setup(set_prefix=False)
except (ImproperlyConfigured, ValueError) as error:
    print(f"web_server: {error}", file=sys.stderr)
    # gunicorn's "the application cannot be loaded": the master ends too instead of trying again for ever.
    raise SystemExit(4) from None
application = OneHop()
