"""A web server in this process, whose threads have database connections of their own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler


class SilentHandler(WSGIRequestHandler):
    """Logs no requests."""

    def log_message(self, *args: Any) -> None:
        pass


@contextmanager
def serving(application: Callable[..., Any]) -> Iterator[str]:
    """Serve an application of WSGI. Yields its URL."""
    server = ThreadedWSGIServer(("127.0.0.1", 0), SilentHandler)
    server.set_app(application)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()
