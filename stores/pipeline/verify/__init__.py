"""Check the promises of Syncline from the databases alone (reliability, section 2).

For commands, because channels are opened. They are read first, each in one snapshot, into temporary
tables of HQ; then HQ is looked at as of one later moment. HQ only adds rows, and acknowledges or
delivers after it committed, so that what is true of the earlier channels must be true of the later
HQ, while everything runs. Each check is a function of what was read; each statement names what is
wrong, so that an empty answer is the proof.
"""

from django.db import transaction

from stores.pipeline.bulk import run_sql
from stores.pipeline.verify.checks import CHECKS
from stores.pipeline.verify.judging import Check
from stores.pipeline.verify.reading import PATIENCE, channels_read

__all__ = ["Check", "verify"]


def verify() -> list[Check]:
    """Check every invariant, also while jobs run. Effects: temporary tables, gone at the end."""
    with channels_read() as seen, transaction.atomic():
        run_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        run_sql(PATIENCE)
        return [check(seen) for check in CHECKS]
