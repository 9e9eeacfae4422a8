"""Check the promises of Syncline from the databases alone (reliability, section 2).

For commands and runs, because channels are opened. They are read first, each in one snapshot, into
work tables of HQ; then HQ is looked at as of one later moment. HQ only adds rows, and
acknowledges or delivers after it committed, so that what is true of the earlier channels must be
true of the later HQ, while everything runs. Each check is a function of what was read; each
statement names what is wrong, so that an empty answer is the proof.

Promises about how things come to rest are judged by the last run that succeeded: what was there
five minutes before it began, and it passed by, is broken; anything else is late.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db import connection, transaction

from stores.hqdb.sql import run_sql
from stores.pipeline import number_journal
from stores.pipeline.integrity import customers, distribution, identity, runs, sales, upload
from stores.pipeline.integrity.checks import Check
from stores.pipeline.integrity.evidence import Evidence
from stores.pipeline.integrity.snapshot import SET_TIMEOUT, channels_snapshot

CHECKS: tuple[Callable[[Evidence], Check], ...] = (
    identity.one_account_per_guid,
    identity.one_guid_creates_an_account,
    identity.numbers_have_no_gaps,
    identity.accounts_have_their_format,
    identity.accounts_are_never_rewritten,
    identity.accounts_stay_in_their_company,
    upload.no_false_receipts,
    upload.nothing_stays_behind,
    upload.hq_holds_only_what_was_captured,
    customers.the_last_event_is_shown,
    upload.every_row_is_accounted_for,
    upload.quarantine_is_lossless,
    identity.conversion_is_atomic,
    upload.what_waits_has_a_reason,
    customers.addresses_have_one_owner,
    customers.fields_arrive_unchanged,
    distribution.channels_know_nothing_else,
    distribution.channels_know_what_was_delivered,
    distribution.positions_are_true,
    distribution.tills_see_each_person_once,
    *sales.SALES_CHECKS,
    runs.runs_do_not_overlap,
    runs.runs_end_and_count_truly,
    distribution.channels_are_at_the_last_visit,
    distribution.no_number_is_ahead_of_hq,
    runs.idle_runs_leave_nothing,
    customers.arrival_decides_nothing,
    customers.clocks_decide_nothing,
    upload.events_never_change,
)


def verify(*, full: bool = False) -> list[Check]:
    """Check every invariant, also while jobs run; contents by a sample unless `full`.

    Effects: work tables, gone at the end.
    """
    # Each before HQ: a number is in the journal, and in a channel, only once HQ has committed it.
    with (
        channels_snapshot(full=full, with_rows=full) as snapshot,
        number_journal.loaded() as journal,
        one_snapshot(),
        runs.last_good_starts() as last_starts,
        customers.sampled_customers(full=full) as looked_at,
        customers.shown_rows(looked_at) as shown,
    ):
        evidence = Evidence(snapshot, journal, last_starts, looked_at, shown)
        return [check(evidence) for check in CHECKS]


@contextmanager
def one_snapshot() -> Iterator[None]:
    """See HQ as of one moment; within a dry run, whose transaction has begun, as it goes."""
    is_rehearsal = connection.in_atomic_block
    with transaction.atomic():
        if not is_rehearsal:
            run_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        run_sql(SET_TIMEOUT)
        yield
