"""A name server that does not answer, asked by this thread's resolver.

The state of glibc's resolver is public: a program may name servers in it that it prefers to those
of /etc/resolv.conf.
"""

import ctypes
import platform
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

IS_GLIBC = platform.libc_ver()[0] == "glibc"


class ResolverState(ctypes.Structure):
    """The beginning of glibc's `struct __res_state`."""

    _fields_ = (
        ("retrans", ctypes.c_int),
        ("retry", ctypes.c_int),
        ("options", ctypes.c_ulong),
        ("nscount", ctypes.c_int),
        ("first_address", ctypes.c_byte * 16),
    )


@contextmanager
def silent_name_server() -> Iterator[socket.socket]:
    """Ask a server that does not answer inside the block. Yields its socket, to read what came."""
    libc = ctypes.CDLL(None)
    libc.__res_state.restype = ctypes.POINTER(ResolverState)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(1)
        host, port = server.getsockname()
        libc.__res_init()
        state = libc.__res_state().contents
        state.nscount = 1
        address = struct.pack("=H", socket.AF_INET) + struct.pack("!H", port)
        address += socket.inet_aton(host) + bytes(8)
        ctypes.memmove(ctypes.byref(state.first_address), address, 16)
        try:
            yield server
        finally:
            libc.__res_init()
