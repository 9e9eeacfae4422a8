"""The data that the checks read: a snapshot of the channels, and work tables of HQ."""

from dataclasses import dataclass

from psycopg2 import sql

from stores.hqdb.work_table import WorkTable
from stores.pipeline.integrity.snapshot import Copies, Snapshot
from stores.pipeline.number_journal import LoadedJournal


@dataclass(frozen=True)
class Evidence:
    """The snapshot of the channels, the number journal, and work tables of HQ.

    `cutoffs` says of each step which rows must have been processed, `looked_at` has the customers
    that are checked, and `shown` their rows with the event that each shows.
    """

    snapshot: Snapshot
    journal: LoadedJournal
    cutoffs: WorkTable
    looked_at: WorkTable
    shown: WorkTable

    @property
    def copies(self) -> Copies:
        return self.snapshot.copies

    @property
    def names(self) -> dict[str, sql.Identifier]:
        return {
            **self.copies.names,
            **self.journal.names,
            "cutoffs": self.cutoffs,
            "looked_at": self.looked_at,
            "shown": self.shown,
        }
