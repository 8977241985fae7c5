"""The address where Prometheus scrapes: one page over HTTP, for as long as the configuration has [metrics].

Theory of operation. A scrape reads the counters in the control thread, which takes one batch boundary, and is
written as text in a worker thread, so that neither thread of the bridge waits for it. Whoever asks gets the page
`/metrics`, one request per connection. Scrapers are kept off each other and off the bridge by Limits:

* a page is used again for `freshness` seconds and for `rest` times what its writing took (half a second with the
  most ports and series there can be), so that any number of scrapers takes at most a part of a core;
* a request that is too long or too slow, a reader that is too slow, are cut off;
* when all connections are taken, the one whose client has been waited for longest makes room; the last descriptors of
  the process are not for scrapers (bridge.bounded_server).

Thread: control. Refuses, as ConfigError: an address that cannot be had, and a missing client library; what was
served before goes on. HTTP: RFC 9112, as little of it as a server must know.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Collection
from dataclasses import dataclass
from http import HTTPStatus

from bridge.bounded_server import BoundedServer, Connection, Room
from bridge.config.metrics import MetricsConfig
from bridge.errors import ConfigError, Problem
from bridge.metrics.exposition import Exposition
from bridge.metrics.state import State

PATH = "/metrics"
OPENMETRICS = "application/openmetrics-text"
BACKLOG = 128  # connections that wait to be accepted

logger = logging.getLogger(__package__)


@dataclass(frozen=True, slots=True)
class Limits:
    """What scrapers may ask for: connections, bytes of a request, seconds."""

    connections: int = 16
    reserve: int = 128  # descriptors of the process that scrapers leave to others
    patience: float = 1.0  # for a reader of the page, before it makes room for a new one
    request_bytes: int = 8192
    request: float = 5.0
    send: float = 10.0
    freshness: float = 0.5
    rest: float = 4.0  # times as long as the writing of a page took


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer to a request; `headers` are lines."""

    status: HTTPStatus
    content_type: str
    body: bytes
    headers: tuple[str, ...] = ()

    def encode(self, *, with_body: bool) -> bytes:
        """Write it as HTTP."""
        lines = (
            f"HTTP/1.1 {self.status.value} {self.status.phrase}",
            f"Content-Type: {self.content_type}",
            f"Content-Length: {len(self.body)}",
            "Connection: close",
            *self.headers,
        )
        head = "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"
        return head + self.body if with_body else head


def refusal(status: HTTPStatus, text: str, *headers: str) -> Reply:
    """Make an answer that says why there is no page."""
    return Reply(status, "text/plain; charset=utf-8", f"{text}\n".encode(), headers)


@dataclass(frozen=True, slots=True)
class Request:
    """What matters of a request."""

    method: str
    path: str
    accept: str

    @classmethod
    def parse(cls, head: bytes) -> Request | None:
        """Read the request line and the header Accept; None: this is not HTTP."""
        first, *lines = head.decode("latin-1").split("\r\n")
        parts = first.split(" ")
        if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
            return None
        headers = (line.partition(":") for line in lines)
        accept = ",".join(value for name, _, value in headers if name.lower() == "accept")
        return cls(parts[0], parts[1].partition("?")[0], accept)


class MetricsServer:
    """Serves what `read` gives at the address of the configuration; off until `configure` says one."""

    def __init__(self, read: Callable[[MetricsConfig], State], limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._read = read
        self._config = MetricsConfig()
        self._exposition: Exposition | None = None
        self._server: BoundedServer | None = None
        self._writing = asyncio.Lock()
        self._pages: dict[bool, tuple[float, Reply]] = {}

    async def configure(self, config: MetricsConfig) -> None:
        """Serve as the configuration says; raises ConfigError, and what was served before still is."""
        if config.address and config.address != self._config.address:
            exposition = Exposition()
            server = self._listen(config.address)
            await self.close()
            self._exposition, self._server = exposition, server
            logger.info("metrics on http://%s%s", config.address, PATH)
        elif not config.address:
            await self.close()
        self._config = config
        self._pages.clear()

    @property
    def connections(self) -> Collection[Connection]:
        """Those of scrapers."""
        return self._server.connections if self._server else ()

    def _listen(self, address: str) -> BoundedServer:
        limits = self.limits
        room = Room(limits.connections, reserve=limits.reserve, read_ahead=limits.request_bytes)
        server = BoundedServer("metrics", room, lambda accepted, _: _Scraper(self, accepted))
        try:
            server.start(_listener(address))
        except OSError as error:
            remedy = "choose an address of this machine and a free port, or remove [metrics]"
            message = f"cannot listen on {address}: {error.strerror or error}; {remedy}"
            raise ConfigError([Problem("metrics.address", message)]) from error
        return server

    async def close(self) -> None:
        """Stop serving and hang up on everybody. Idempotent."""
        server, self._server = self._server, None
        self._config = MetricsConfig()
        if server:
            await server.close()

    # -- the page

    async def answer(self, request: Request) -> Reply:
        """Give the page, or say why not."""
        if request.path != PATH:
            return refusal(HTTPStatus.NOT_FOUND, f"the metrics are at {PATH}")
        if request.method not in ("GET", "HEAD"):
            return refusal(
                HTTPStatus.METHOD_NOT_ALLOWED, "there is only something to get", "Allow: GET, HEAD"
            )
        return await self._page(OPENMETRICS in request.accept)

    async def _page(self, openmetrics: bool) -> Reply:
        """Give the page, written now or a moment ago."""
        now = asyncio.get_running_loop().time
        async with self._writing:
            fresh_until, page = self._pages.get(openmetrics, (0.0, None))
            began = now()
            if page is None or began > fresh_until:
                page = await self._write(openmetrics)
                rest = max(self.limits.freshness, self.limits.rest * (now() - began))
                self._pages[openmetrics] = now() + rest, page
            return page

    async def _write(self, openmetrics: bool) -> Reply:
        if self._exposition is None:
            raise RuntimeError("a scrape without a server")
        state = self._read(self._config)
        content_type, text = await asyncio.to_thread(self._exposition.write, state, openmetrics=openmetrics)
        return Reply(HTTPStatus.OK, content_type, text)


class _Scraper(Connection):
    """One client: a request in, a reply out."""

    def __init__(self, server: MetricsServer, accepted: socket.socket) -> None:
        super().__init__(accepted, favoured=False)
        self._server = server
        self._limits = server.limits

    async def serve(self) -> None:
        """Answer one request."""
        async with asyncio.timeout(self._limits.request):
            with self.yielding():
                request = await self._read_request()
        reply = request if isinstance(request, Reply) else await self._server.answer(request)
        with_body = isinstance(request, Reply) or request.method != "HEAD"
        async with asyncio.timeout(self._limits.send):
            with self.yielding(self._limits.patience):
                self.writer.write(reply.encode(with_body=with_body))
                self.writer.close()
                await self.writer.wait_closed()

    async def _read_request(self) -> Request | Reply:
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            text = f"at most {self._limits.request_bytes} bytes of headers, please"
            return refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, text)
        return Request.parse(head) or refusal(HTTPStatus.BAD_REQUEST, "this is an HTTP/1.1 server")


def _listener(address: str) -> socket.socket:
    """Listen on an address of the configuration: an IP address and a port."""
    host, _, port = address.rpartition(":")
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host.strip("[]"), int(port)))
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener
