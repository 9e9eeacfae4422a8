"""Conflicts: edits of one field whose makers did not know of each other.

Merging has decided already which edit wins: the later one. Once for each chunk of edits, this
module records what was lost by that, so that people can see both values.
"""

import json
from collections.abc import Iterable
from datetime import timedelta

from psycopg2 import sql

from stores.hqdb.files import load
from stores.hqdb.sql import run_sql
from stores.hqdb.work_table import WorkTable
from stores.pipeline.convert.merged_fields import Conflict
from stores.pipeline.events.kinds import EventKind

RECORD_CONFLICTS = load(__file__, "record_conflicts")
# If a clock is wrong by more, a person decides about the conflict.
CLOCK_TOLERANCE = timedelta(minutes=15)


def record_conflicts(kind: EventKind, conflicts: Iterable[Conflict], history: WorkTable) -> None:
    """Record conflicts, each with both values; `history` has their edits.

    A conflict stays open for a person if a clock was wrong by more than CLOCK_TOLERANCE, because
    the edit that counts as the later one may be the earlier one. Effects: edit_conflict, in the
    caller's transaction.
    """
    found = [
        {
            "key": conflict.lost.key,
            "field": conflict.field,
            "lost_event": str(conflict.lost.event),
            "lost_value": conflict.lost_value,
            "kept_event": str(conflict.kept.event),
            "kept_value": conflict.kept_value,
        }
        for conflict in conflicts
    ]
    if found:
        values = {"conflicts": json.dumps(found), "tolerance": CLOCK_TOLERANCE}
        run_sql(record_statement(kind, history), values)


def record_statement(kind: EventKind, history: WorkTable) -> sql.Composed:
    return RECORD_CONFLICTS.format(history=history, **kind.names)
