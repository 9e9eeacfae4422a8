"""When work runs: start, claim, carry out, record, heal.

The ledger in PostgreSQL is the truth, the queue a doorbell. What may not overlap is locked per step
and database or company; one started job is one run, whose steps fail, or find themselves busy,
alone.
"""

from stores.jobs.executing import execute
from stores.jobs.healing import MOST_ATTEMPTS, bury, heal, is_hung, look_after
from stores.jobs.here import run_here
from stores.jobs.planning import plan
from stores.jobs.recording import busy_document, document, outcome_of, sum_counts
from stores.jobs.starting import Started, start, start_and_ring

__all__ = [
    "MOST_ATTEMPTS",
    "Started",
    "bury",
    "busy_document",
    "document",
    "execute",
    "heal",
    "is_hung",
    "look_after",
    "outcome_of",
    "plan",
    "run_here",
    "start",
    "start_and_ring",
    "sum_counts",
]
