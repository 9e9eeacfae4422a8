"""What tills tried and what they were promised, on disk before and after each commit.

Written by the test, never by the product: ATT before a commit is tried, ACK only once the database
confirmed it, ROL once it is known to have been undone, AMB when the line was cut in between. OUT of
an event whose database was set back before headquarters had fetched it: the store has lost it. GONE
of the GUID of a customer whom such an event creates. BAD of an event that is wrong on purpose. A
DOC line tells what a sale, return or order brought in.
"""

import json
import os
import threading
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from tests.proofs.chaos.documents import Document

ATT, ACK, AMB, ROL, OUT = "ATT", "ACK", "AMB", "ROL", "OUT"
GONE, BAD, DOC = "GONE", "BAD", "DOC"


class Journal:
    """An append-only file: one word, one event id and, of documents, what they say, a line."""

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
        self.write("".join(f"{word} {event_id}\n" for event_id in event_ids))

    def note_document(self, event_id: str, document: Document) -> None:
        """Write what a document is, before a commit is tried."""
        self.write(f"{DOC} {event_id} {json.dumps(document.as_json())}\n")

    def write(self, lines: str) -> None:
        with self.lock:
            self.file.write(lines.encode())
            os.fsync(self.file.fileno())

    def read(self) -> "Promises":
        """What the file says by now; a line that is just being written is not there yet."""
        found: dict[str, set[str]] = defaultdict(set)
        documents: dict[str, Document] = {}
        whole, _, _ = self.path.read_text().rpartition("\n")
        for line in whole.splitlines():
            word, event_id, *rest = line.split(" ", 2)
            found[word].add(event_id)
            if word == DOC:
                documents[event_id] = read_document(json.loads(rest[0]))
        return Promises(
            found[ATT],
            found[ACK] - found[OUT],
            found[ROL],
            bad=found[BAD],
            gone=found[GONE],
            documents=documents,
        )


def read_document(told: dict[str, Any]) -> Document:
    return Document(**told | {"payments": tuple(map(tuple, told["payments"]))})


class Promises:
    """Event ids that tills tried, those confirmed to them, and those known to be undone.

    Also those that are wrong on purpose, the GUIDs of lost customers, and what each document is.
    """

    def __init__(
        self,
        tried: set[str],
        confirmed: set[str],
        undone: set[str],
        *,
        bad: Iterable[str] = (),
        gone: Iterable[str] = (),
        documents: dict[str, Document] | None = None,
    ) -> None:
        self.tried, self.confirmed, self.undone = tried, confirmed, undone
        self.bad, self.gone, self.documents = set(bad), set(gone), documents or {}
