"""A proxy in front of a PostgreSQL server that breaks connections as a network does.

The embedded servers listen on a socket file only. The proxy listens on 127.0.0.1 and passes bytes
on to that file, so that a channel with the URL `proxy.url("ch_houston")` is reached over TCP:

    with Proxy() as proxy:
        ChannelDatabase.objects.filter(pk=houston.pk).update(url=proxy.url("ch_houston"))
        proxy.cut_after_commit(of=b"acknowledged_at")
        ...
        proxy.heal()

There is one fault at a time, for open and for new connections, until another one or `heal`.
Faults of a COMMIT happen `times` times, in transactions whose statements contain `of` (b"" is in
any), and `proxy.cuts` counts the connections that were cut.
"""

import select
import socket
import struct
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from django.conf import settings

COMMIT = b"Q\x00\x00\x00\x0bCOMMIT\x00"
COMMITTED = b"C\x00\x00\x00\x0bCOMMIT\x00"
PORT = 5432
BLOCK = 1 << 16
TICK_S = 0.02

Word = Literal[
    "none",
    "refuse",
    "reset_at_connect",
    "cut_mid_query",
    "cut_before_commit",
    "cut_after_commit",
    "hold_commit",
    "half_open",
    "black_hole",
    "slow",
]


@dataclass(frozen=True)
class Fault:
    """What the proxy does at present. Units: seconds, bytes per second, bytes."""

    word: Word = "none"
    of: bytes = b""
    delay_s: float = 0
    bytes_per_s: float = 0
    slice_bytes: int = 0


class Proxy:
    """A proxy on a port of its own; `with` starts it, and ends it with all its connections."""

    def __init__(self, server: Path | None = None) -> None:
        folder = server or settings.EMBEDDED.sockets
        self.target = str(folder / f".s.PGSQL.{PORT}")
        self.fault = Fault()
        self.cuts = 0
        self.links: list[Link] = []
        self._left = 0
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._listener: socket.socket | None = self._listen(0)
        self.port: int = self._listener.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._accepting.join()
        self._stop_listening()
        for link in self.links:
            link.reset()
        for link in self.links:
            link.thread.join()

    def url(self, database: str, user: str = "syncline") -> str:
        """The URL of a database of the server, through the proxy."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    # Faults

    def heal(self) -> None:
        """Pass everything on again; connections that were cut stay cut."""
        self._break(Fault())

    def cut(self) -> None:
        """Reset every open connection; new ones are accepted."""
        for link in self.links:
            link.reset()

    def refuse(self) -> None:
        """Stop listening, so that connections are refused, and reset open ones."""
        self._break(Fault("refuse"))
        self._stop_listening()
        self.cut()

    def reset_at_connect(self) -> None:
        """Accept connections and reset them at once."""
        self._break(Fault("reset_at_connect"))

    def cut_mid_query(self, of: bytes, times: int = 1) -> None:
        """Pass on a message that contains `of`, and reset the connection before the answer."""
        self._break(Fault("cut_mid_query", of), times)

    def cut_before_commit(self, of: bytes = b"", times: int = 1) -> None:
        """Reset the connection instead of passing COMMIT on to the server."""
        self._break(Fault("cut_before_commit", of), times)

    def cut_after_commit(self, of: bytes = b"", times: int = 1) -> None:
        """Reset the connection when the server has committed, before the client learns it."""
        self._break(Fault("cut_after_commit", of), times)

    def hold_commit(self, seconds: float, of: bytes = b"", times: int = 1) -> None:
        """Delay each COMMIT."""
        self._break(Fault("hold_commit", of, delay_s=seconds), times)

    def go_half_open(self) -> None:
        """End the server's side of every connection, unnoticed by the client."""
        self._break(Fault("half_open"))

    def go_black(self) -> None:
        """Accept everything and pass nothing on, in both directions."""
        self._break(Fault("black_hole"))

    def slow(self, *, delay_s: float = 0, bytes_per_s: float = 0, slice_bytes: int = 0) -> None:
        """Delay each packet, limit the rate, or split the data into small packets."""
        self._break(
            Fault("slow", delay_s=delay_s, bytes_per_s=bytes_per_s, slice_bytes=slice_bytes)
        )

    # Internals

    def _break(self, fault: Fault, times: int = 1) -> None:
        with self._lock:
            self.fault, self._left = fault, times
            if fault.word != "refuse" and self._listener is None and not self._closed.is_set():
                self._listener = self._listen(self.port)

    def take(self, word: Word, said: bytes) -> Fault | None:
        """Use the present fault once, if it is this one and applies to these statements."""
        with self._lock:
            fault = self.fault
            if fault.word != word or fault.of not in said or not self._left:
                return None
            self._left -= 1
            self.cuts += word != "hold_commit"
            return fault

    def _listen(self, port: int) -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(64)
        return listener

    def _stop_listening(self) -> None:
        with self._lock:
            listener, self._listener = self._listener, None
        if listener:
            # The accepting thread may be waiting on it, which alone would keep it open.
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def _accept(self) -> None:
        while not self._closed.is_set():
            listener = self._listener
            try:
                if listener is None or not select.select([listener], [], [], TICK_S)[0]:
                    self._closed.wait(0 if listener else TICK_S)
                    continue
                client, _ = listener.accept()
            except (OSError, ValueError):
                continue  # refuse() closed it in this moment
            self.links = [link for link in self.links if not link.is_over]
            self.links.append(Link(self, client))


class Link:
    """The connection of one client, passed on by a thread of its own."""

    def __init__(self, proxy: Proxy, client: socket.socket) -> None:
        self.proxy, self.client = proxy, client
        self.server: socket.socket | None = None
        self.is_over = False
        # The client's messages in this transaction, and whether its commit is not to be reported.
        self.said = b""
        self.keeps_secret = False
        self._is_cut = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def reset(self) -> None:
        """End the connection in both directions."""
        self._is_cut.set()

    def _run(self) -> None:
        try:
            if self.proxy.fault.word != "reset_at_connect":
                with suppress(OSError):
                    self._pass_on()
        finally:
            # Reset instead of an orderly end: data that was not read yet is lost.
            with suppress(OSError):
                self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.client.close()
            self._leave_server()
            self.is_over = True

    def _pass_on(self) -> None:
        self.client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.server = socket.socket(socket.AF_UNIX)
        self.server.connect(self.proxy.target)
        while not self._is_cut.is_set():
            if self.proxy.fault.word == "half_open":
                self._leave_server()
            if self.proxy.fault.word == "black_hole":
                self._is_cut.wait(TICK_S)
                continue
            ends = [end for end in (self.client, self.server) if end]
            for ready in select.select(ends, [], [], TICK_S)[0]:
                data = ready.recv(BLOCK)
                if not data:
                    return
                if self.server is None:
                    continue  # half open
                if ready is self.client:
                    self._hear_client(data)
                else:
                    self._hear_server(data)

    def _hear_client(self, data: bytes) -> None:
        # Keep enough earlier data to recognize a text that is split between packets.
        is_new = data[:1] == b"Q" and data[5:10] == b"BEGIN"
        self.said = data if is_new else (self.said + data)[-4 * BLOCK :]
        if self.proxy.take("cut_mid_query", data):
            self._send(self.server, data)
            self.reset()
            return
        if COMMIT in data:
            said, self.said = self.said, b""
            if self.proxy.take("cut_before_commit", said):
                self.reset()
                return
            if held := self.proxy.take("hold_commit", said):
                self._is_cut.wait(held.delay_s)
            self.keeps_secret = self.proxy.take("cut_after_commit", said) is not None
        self._send(self.server, data)

    def _hear_server(self, data: bytes) -> None:
        if not self.keeps_secret:
            self._send(self.client, data)
        elif COMMITTED in data:
            self.reset()

    def _send(self, to: socket.socket | None, data: bytes) -> None:
        assert to is not None
        fault = self.proxy.fault
        if fault.word != "slow":
            to.sendall(data)
            return
        time.sleep(fault.delay_s)
        size = fault.slice_bytes or BLOCK
        for start in range(0, len(data), size):
            piece = data[start : start + size]
            to.sendall(piece)
            if fault.bytes_per_s:
                self._is_cut.wait(len(piece) / fault.bytes_per_s)
            if self._is_cut.is_set():
                return

    def _leave_server(self) -> None:
        server, self.server = self.server, None
        if server:
            server.close()
