"""The scrape address: the page, everything that is not the page, scrapers that misbehave, changes while it runs."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from helpers.aio import story, until
from helpers.metrics import STATE

from bridge.config.metrics import MetricsConfig
from bridge.errors import ConfigError
from bridge.metrics.server import Limits, MetricsServer
from bridge.metrics.state import State

GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"


class Source:
    """Counts how often it was read."""

    def __init__(self) -> None:
        self.readings = 0

    def __call__(self, config: MetricsConfig) -> State:
        self.readings += 1
        return STATE


def free_address(host: str = "127.0.0.1") -> str:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((host, 0))
        port = probe.getsockname()[1]
    return f"[{host}]:{port}" if family == socket.AF_INET6 else f"{host}:{port}"


@contextlib.asynccontextmanager
async def served(source: Any = None, **limits: Any) -> AsyncIterator[tuple[MetricsServer, str]]:
    server = MetricsServer(source or Source(), Limits(**limits))
    address = free_address()
    await server.configure(MetricsConfig(address))
    try:
        yield server, address
    finally:
        await server.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}


async def connect(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = address.rpartition(":")
    return await asyncio.open_connection(host.strip("[]"), int(port))


async def ask(address: str, request: bytes = GET) -> tuple[str, dict[str, str], bytes]:
    """Status line, headers and body of the answer."""
    reader, writer = await connect(address)
    try:
        writer.write(request)
        async with asyncio.timeout(10):
            answer = await reader.read()
    finally:
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    return status, dict(line.split(": ", 1) for line in lines), body


@story
async def test_the_page_in_both_formats() -> None:
    async with served() as (_, address):
        status, headers, body = await ask(address)
        assert (status, headers["Content-Type"]) == (
            "HTTP/1.1 200 OK",
            "text/plain; version=0.0.4; charset=utf-8",
        )
        assert int(headers["Content-Length"]) == len(body)
        assert b'framebridge_port_rx_frames_total{port="guests"} 7.0\n' in body

        accept = b"Accept: application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1\r\n\r\n"
        status, headers, body = await ask(address, GET[:-2] + accept)
        assert headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
        assert body.endswith(b"# EOF\n")


@story
async def test_a_query_is_ignored_and_head_has_no_body() -> None:
    async with served() as (_, address):
        page = (await ask(address, b"GET /metrics?x=1 HTTP/1.0\r\n\r\n"))[2]
        assert page.startswith(b"# HELP framebridge_")
        status, headers, body = await ask(address, b"HEAD /metrics HTTP/1.1\r\n\r\n")
        assert (status, body) == ("HTTP/1.1 200 OK", b"")
        assert int(headers["Content-Length"]) > 0


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "404 Not Found"),
        (b"GET /metrics/ HTTP/1.1\r\n\r\n", "404 Not Found"),
        (b"GET /../metrics HTTP/1.1\r\n\r\n", "404 Not Found"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", "405 Method Not Allowed"),
        (b"\xff\x00 \r\n\r\n", "400 Bad Request"),
        (b"\r\n\r\n", "400 Bad Request"),
        (b"GET /metrics\r\n\r\n", "400 Bad Request"),
        (b"GET /metrics HTTP/2.0\r\n\r\n", "400 Bad Request"),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 9000, "431 Request Header Fields Too Large"),
    ],
)
@story
async def test_what_is_not_the_page(request_: bytes, status: str) -> None:
    source = Source()
    async with served(source) as (_, address):
        assert (await ask(address, request_))[0] == f"HTTP/1.1 {status}"
        assert source.readings == 0
        assert (await ask(address))[0] == "HTTP/1.1 200 OK"


@story
async def test_many_scrapers_cost_one_reading() -> None:
    source = Source()
    async with served(source, freshness=60.0) as (_, address):
        pages = await asyncio.gather(*(ask(address) for _ in range(12)))
        assert {page[2] for page in pages} == {pages[0][2]}
        assert source.readings == 1


@pytest.mark.parametrize(
    ("rest", "readings"),
    [
        pytest.param(1e6, 1, id="a page that took long to write is used for long"),
        pytest.param(0.0, 2, id="a page that is not fresh is written again"),
    ],
)
@story
async def test_how_long_a_page_is_used(rest: float, readings: int) -> None:
    source = Source()
    async with served(source, freshness=0.0, rest=rest) as (_, address):
        await ask(address)
        await ask(address)
        assert source.readings == readings


@story
async def test_a_client_that_sends_nothing_is_cut_off() -> None:
    async with served(request=0.05) as (server, address):
        reader, writer = await connect(address)
        writer.write(b"GET /met")
        async with asyncio.timeout(10):
            assert await reader.read() == b""
        writer.close()
        await until(lambda: not server.connections, "the connection to be forgotten")


@story
async def test_a_client_that_does_not_read_is_cut_off() -> None:
    big = dict.fromkeys((f"port-with-a-long-name-{n:03}" for n in range(256)), STATE.tallies["guests"])
    state = State(**{name: getattr(STATE, name) for name in State.__slots__} | {"tallies": big})  # 1.4 MB
    async with served(lambda config: state, send=0.1) as (server, address):
        host, _, port = address.rpartition(":")
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
            await asyncio.get_running_loop().sock_connect(client, (host, int(port)))
            await asyncio.get_running_loop().sock_sendall(client, GET)
            await until(lambda: server.connections, "a connection")
            await until(lambda: not server.connections, "the connection to be cut off")
        assert (await ask(address))[0] == "HTTP/1.1 200 OK"


@story
async def test_slow_clients_make_room_for_a_scraper() -> None:
    async with served(connections=3, request=60.0) as (server, address):
        idle = [await connect(address) for _ in range(3)]
        await until(lambda: len(server.connections) == 3, "three connections")
        assert (await ask(address))[0] == "HTTP/1.1 200 OK"
        async with asyncio.timeout(10):
            assert await idle[0][0].read() == b""  # the oldest made room
        for _, writer in idle:
            writer.close()


@story
async def test_a_burst_of_clients_leaves_no_descriptor(caplog: pytest.LogCaptureFixture) -> None:
    """All of them wait to be accepted at once, which a server that accepts them in one go does not survive."""
    before = sum(1 for _ in Path("/proc/self/fd").iterdir())
    async with served() as (server, address):
        host, _, port = address.rpartition(":")
        for _ in range(5):
            burst = [socket.create_connection((host, int(port))) for _ in range(100)]
            await until(lambda: len(server.connections) == 16, "all places to be taken")
            assert (await ask(address))[0] == "HTTP/1.1 200 OK"
            for client in burst:
                client.close()
            await until(lambda: not server.connections, "the connections to end")
    assert sum(1 for _ in Path("/proc/self/fd").iterdir()) <= before
    assert len(caplog.records) <= 5


@story
async def test_a_source_that_fails_costs_one_connection(caplog: pytest.LogCaptureFixture) -> None:
    def fail(config: MetricsConfig) -> State:
        raise RuntimeError("no counters today")

    async with served(fail) as (_, address):
        assert (await ask(address))[0] == ""
        assert "no counters today" in caplog.text
        assert (await ask(address, b"GET / HTTP/1.1\r\n\r\n"))[0] == "HTTP/1.1 404 Not Found"


@story
async def test_another_address_takes_over_and_off_is_off() -> None:
    async with served() as (server, old):
        new = free_address()
        await server.configure(MetricsConfig(new))
        assert (await ask(new))[0] == "HTTP/1.1 200 OK"
        with pytest.raises(ConnectionRefusedError):
            await ask(old)
        await server.configure(MetricsConfig())
        with pytest.raises(ConnectionRefusedError):
            await ask(new)


@story
async def test_other_settings_do_not_hang_up() -> None:
    seen = []

    def read(config: MetricsConfig) -> State:
        seen.append(config.talkers)
        return STATE

    async with served(read) as (server, address):
        reader, writer = await connect(address)
        await until(lambda: server.connections, "a connection")
        await server.configure(MetricsConfig(address, talkers=5))
        writer.write(GET)
        assert (await reader.readline()) == b"HTTP/1.1 200 OK\r\n"
        writer.close()
        assert seen == [5]


@story
async def test_an_address_that_cannot_be_had_leaves_the_old_one_at_work() -> None:
    async with served() as (server, address):
        with socket.socket() as holder:
            holder.bind(("127.0.0.1", 0))
            holder.listen()
            taken = f"127.0.0.1:{holder.getsockname()[1]}"
            with pytest.raises(
                ConfigError, match=f"metrics.address: cannot listen on {taken}: .*in use; choose"
            ):
                await server.configure(MetricsConfig(taken))
        with pytest.raises(ConfigError, match=r"cannot listen on 192\.0\.2\.1:9464: "):
            await server.configure(MetricsConfig("192.0.2.1:9464"))
        assert (await ask(address))[0] == "HTTP/1.1 200 OK"


@pytest.mark.root
@story
async def test_ipv6() -> None:
    Path("/proc/sys/net/ipv6/conf/lo/disable_ipv6").write_text("0")  # of this test process's own network
    server = MetricsServer(Source())
    try:
        address = free_address("::1")
        await server.configure(MetricsConfig(address))
        assert (await ask(address))[0] == "HTTP/1.1 200 OK"
    finally:
        await server.close()
        Path("/proc/sys/net/ipv6/conf/lo/disable_ipv6").write_text("1")


@story
async def test_without_the_client_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    server = MetricsServer(Source())
    with pytest.raises(ConfigError, match=r"^metrics: .*pip install 'framebridge\[metrics\]', or remove"):
        await server.configure(MetricsConfig(free_address()))
