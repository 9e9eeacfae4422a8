"""Check the promises of Syncline, which are its invariants, from the databases alone.

The channels are read first, each in one snapshot, into work tables of HQ; then HQ is read as of one
later moment. HQ only adds rows, and acknowledges or delivers after it has committed. So what the
channels say must be true of the later HQ, even while everything runs.

Some invariants say that a run must process every row. They are judged by the last run that
succeeded: a row that was there five minutes before the run began, and was not processed, breaks the
invariant; any other row is late, which does not. Source: reliability, section 2.
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
    """Check every invariant. Contents are checked by a sample, unless `full` is true."""
    # The order matters: a number is in the journal or in a channel only after HQ has committed it.
    with (
        channels_snapshot(full=full, with_rows=full) as snapshot,
        number_journal.loaded() as journal,
        one_snapshot(),
        runs.cutoffs_of_steps() as cutoffs,
        customers.sampled_customers(full=full) as looked_at,
        customers.shown_rows(looked_at) as (shown, changed),
    ):
        evidence = Evidence(snapshot, journal, cutoffs, shown, changed)
        return [check(evidence) for check in CHECKS]


@contextmanager
def one_snapshot() -> Iterator[None]:
    """Read HQ as of one moment, unless this is a dry run, whose transaction has begun already."""
    is_dry_run = connection.in_atomic_block
    with transaction.atomic():
        if not is_dry_run:
            run_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        run_sql(SET_TIMEOUT)
        yield
