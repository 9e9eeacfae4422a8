"""What the checks look at: the channels as they were read, and HQ as of one later moment."""

from dataclasses import dataclass

from psycopg2 import sql

from stores.hqdb.work_table import WorkTable
from stores.pipeline.integrity.snapshot import Copies, Snapshot
from stores.pipeline.number_journal import LoadedJournal


@dataclass(frozen=True)
class Evidence:
    """What was read of the channels, the number journal, and what was gathered of HQ.

    `last_starts` says when the last good run of a step began, `looked_at` which customers are
    looked at, `shown` what each of their rows shows, and of which event.
    """

    snapshot: Snapshot
    journal: LoadedJournal
    last_starts: WorkTable
    looked_at: WorkTable
    shown: WorkTable

    @property
    def copies(self) -> Copies:
        return self.snapshot.copies

    @property
    def names(self) -> dict[str, sql.Identifier]:
        """The work tables for a statement."""
        return {
            **self.copies.names,
            **self.journal.names,
            "last_starts": self.last_starts.identifier,
            "looked_at": self.looked_at.identifier,
            "shown": self.shown.identifier,
        }
