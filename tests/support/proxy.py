"""A line to a PostgreSQL server that breaks as lines do: real sockets, threads of this process.

The embedded servers listen on a socket file only. A proxy listens on 127.0.0.1 and passes bytes on
to that file, so a channel whose URL is `line.url("ch_houston")` is reached over TCP:

    with Proxy() as line:
        ChannelDatabase.objects.filter(pk=houston.pk).update(url=line.url("ch_houston"))
        line.cut_after_commit(of=b"acknowledged_at")
        ...
        line.heal()

One fault at a time; the last one asked for counts, for open and for new connections, until `heal`.
Faults that are about a COMMIT take effect `times` times, each time on a transaction in which the
client said `of` (b"": on any), and `line.cuts` counts what was cut.
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
    """What the line does at present. Units: seconds, bytes per second, bytes."""

    word: Word = "none"
    of: bytes = b""
    delay_s: float = 0
    bytes_per_s: float = 0
    slice_bytes: int = 0


class Proxy:
    """A line on a port of its own; `with` opens it and ends all that goes over it."""

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
        """The address of a database of the server, through the line."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    # ------------------------------------------------------------- what breaks

    def heal(self) -> None:
        """From now on everything passes again; what was cut stays cut."""
        self._break(Fault())

    def cut(self) -> None:
        """Reset every connection that is open now, whatever it does; new ones are welcome."""
        for link in self.links:
            link.reset()

    def refuse(self) -> None:
        """Nobody listens any more: connections are refused, and open ones reset."""
        self._break(Fault("refuse"))
        self._stop_listening()
        self.cut()

    def reset_at_connect(self) -> None:
        """Take connections and reset them before a word is said."""
        self._break(Fault("reset_at_connect"))

    def cut_mid_query(self, of: bytes, times: int = 1) -> None:
        """Pass on the message in which the client says `of`, and reset before the answer."""
        self._break(Fault("cut_mid_query", of), times)

    def cut_before_commit(self, of: bytes = b"", times: int = 1) -> None:
        """Reset instead of passing COMMIT on: the server never hears of it."""
        self._break(Fault("cut_before_commit", of), times)

    def cut_after_commit(self, of: bytes = b"", times: int = 1) -> None:
        """Reset once the server has committed, instead of passing on that it has."""
        self._break(Fault("cut_after_commit", of), times)

    def hold_commit(self, seconds: float, of: bytes = b"", times: int = 1) -> None:
        """Let COMMIT wait before it is passed on: a slow commit."""
        self._break(Fault("hold_commit", of, delay_s=seconds), times)

    def go_half_open(self) -> None:
        """The server's side of every open connection ends and the client is never told."""
        self._break(Fault("half_open"))

    def go_black(self) -> None:
        """Take everything and pass nothing on, in both directions, also for new connections."""
        self._break(Fault("black_hole"))

    def slow(self, *, delay_s: float = 0, bytes_per_s: float = 0, slice_bytes: int = 0) -> None:
        """Delay each packet, limit the rate, or cut what passes into small packets."""
        self._break(
            Fault("slow", delay_s=delay_s, bytes_per_s=bytes_per_s, slice_bytes=slice_bytes)
        )

    # -------------------------------------------------------------------- within

    def _break(self, fault: Fault, times: int = 1) -> None:
        with self._lock:
            self.fault, self._left = fault, times
            if fault.word != "refuse" and self._listener is None and not self._closed.is_set():
                self._listener = self._listen(self.port)

    def take(self, word: Word, said: bytes) -> Fault | None:
        """The present fault, if it is this one, meant for what was said, and not used up."""
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
    """One client's connection, passed on by a thread of its own."""

    def __init__(self, proxy: Proxy, client: socket.socket) -> None:
        self.proxy, self.client = proxy, client
        self.server: socket.socket | None = None
        self.is_over = False
        # What the client said in the present transaction, and whether its commit is kept secret.
        self.said = b""
        self.keeps_secret = False
        self._is_cut = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def reset(self) -> None:
        """End it in both directions, as a line does that was cut."""
        self._is_cut.set()

    def _run(self) -> None:
        try:
            if self.proxy.fault.word != "reset_at_connect":
                with suppress(OSError):
                    self._pass_on()
        finally:
            # No farewell: what was not read yet is lost.
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
                    continue  # half open: nobody hears it
                if ready is self.client:
                    self._hear_client(data)
                else:
                    self._hear_server(data)

    def _hear_client(self, data: bytes) -> None:
        # Enough of the past to recognize words that two packets share.
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
