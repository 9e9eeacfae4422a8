"""What tills tried and what they were promised, on disk before and after each commit.

Written by the test, never by the product: ATT before a commit is tried, ACK only once the database
confirmed it, ROL once it is known to have been undone, AMB when the line was cut in between.
"""

import os
import threading
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Self

ATT, ACK, AMB, ROL = "ATT", "ACK", "AMB", "ROL"


class Journal:
    """An append-only file of event ids, one word and one id a line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = threading.Lock()
        self.file = path.open("ab", buffering=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def note(self, word: str, event_ids: Iterable[str]) -> None:
        """Write the ids and wait until the disk has them."""
        lines = "".join(f"{word} {event_id}\n" for event_id in event_ids)
        with self.lock:
            self.file.write(lines.encode())
            os.fsync(self.file.fileno())

    def read(self) -> "Promises":
        """What the file says by now."""
        found: dict[str, set[str]] = defaultdict(set)
        for line in self.path.read_text().splitlines():
            word, event_id = line.split()
            found[word].add(event_id)
        return Promises(found[ATT], found[ACK], found[ROL])


class Promises:
    """Event ids that tills tried, those confirmed to them, and those known to be undone."""

    def __init__(self, tried: set[str], confirmed: set[str], undone: set[str]) -> None:
        self.tried, self.confirmed, self.undone = tried, confirmed, undone
