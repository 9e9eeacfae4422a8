"""Locks on a connection of their own: free at once when it is closed."""

from stores.hqdb.locks import Locks

TIMES = 150


def test_a_lock_is_free_once_its_holder_has_closed(hq):
    """Else a command that follows another one would find a job running."""
    taken = []
    for _ in range(TIMES):
        with Locks() as locks:
            taken.append(locks.acquire("company:USRT"))

    assert taken == [True] * TIMES
