"""The data that the checks read: a snapshot of the channels, and work tables of HQ."""

from dataclasses import dataclass
from typing import Any

from psycopg2 import sql

from stores.hqdb.work_table import WorkTable
from stores.pipeline.integrity.snapshot import Copies, Snapshot
from stores.pipeline.number_journal import LoadedJournal


@dataclass(frozen=True)
class Evidence:
    """The snapshot of the channels, the number journal, and work tables of HQ.

    `cutoffs` says of each step which rows must have been processed. `shown` has the rows of the
    customers that are checked with the event that each shows, and `changed` are those of them that
    differ from it.
    """

    snapshot: Snapshot
    journal: LoadedJournal
    cutoffs: WorkTable
    shown: WorkTable
    changed: list[dict[str, Any]]

    @property
    def copies(self) -> Copies:
        return self.snapshot.copies

    @property
    def names(self) -> dict[str, sql.Identifier]:
        return {
            **self.copies.names,
            **self.journal.names,
            "cutoffs": self.cutoffs,
            "shown": self.shown,
        }
