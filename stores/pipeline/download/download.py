"""1010: HQ customers -> channel.

A channel notes the position that a package brings it to in the transaction that brings the rows, so
a crash at any moment neither leaves a change out nor does harm. HQ's note of it is a copy.
"""

from collections.abc import Sequence
from itertools import count
from typing import NamedTuple

from stores.channeldb.errors import ChannelError
from stores.channeldb.exchange.protocol import PositionMove, PositionMoved, TableData
from stores.failpoints import failpoint
from stores.hqdb.retry import (
    DATABASE_ERRORS,
    bisect_rows,
    describe_error,
    is_data_error,
    self_committing,
)
from stores.hqdb.sql import batched, fetch, fetch_one
from stores.models import ChannelDatabase, DownloadSession, Package, RunStep
from stores.models.run import RunCancelled, RunLost, StepFailed
from stores.models.session import DUE_DOWNLOADS, DownloadStatus
from stores.pipeline.chunk_sizes import CUSTOMERS_PER_CHUNK
from stores.pipeline.download.exceptions import (
    Refusals,
    open_exceptions,
    record_refused,
    report_refused_customers,
    settle,
    settle_accepted,
)
from stores.pipeline.download.outbound import accounts_in, read_customers, select_accounts
from stores.pipeline.download.packages import (
    PackageDropped,
    find_package,
    is_up_to_date,
    load_tables,
    package_for,
)
from stores.pipeline.download.ranges import note_untold
from stores.pipeline.download.sessions import (
    CANCELED,
    DROPPED,
    NO_DATA,
    REFUSED,
    SessionCanceled,
    close_session,
    fail_session,
    hold_up,
    note_applied,
    note_arrived,
    note_downloaded,
    request,
    request_session,
    request_single_customers,
    resends,
    start_session,
    suspend_session,
    suspended_in_strict_order,
)
from stores.pipeline.fence.visit import FencedChannel, enter

JOB = "1010"
# The parts of one try of a session have numbers that no other try has.
PARTS_PER_TRY = 1 << 16
MAX_COUNTED_TRIES = 1 << 14


def download_accounts(step: RunStep) -> None:
    """Send a channel database the customers that it lacks, oldest change first.

    One that lacks none, or whose downloads are on hold or suspended, is not opened. Effects:
    packages; the channel's tables, a package a transaction, then sessions, position and counts in
    HQ.
    """
    if step.is_dry:
        with step.chunk():
            if not step.its_database.is_held and not is_suspended(step.its_database):
                step.add(distributed=count_pending(step.its_database))
    elif with_pending([step.its_database.pk]):
        ChannelDownload(step).visit()


def is_suspended(database: ChannelDatabase) -> bool:
    """Whether, in strict order, a person has to decide before the next package is sent."""
    sessions = suspended_in_strict_order().filter(database=database)
    return database.strict_order and sessions.exists()


def with_pending(databases: Sequence[int]) -> list[int]:
    """The databases that lack a customer who may be sent, or are sent something again."""
    suspended = suspended_in_strict_order().filter(database__in=databases)
    pending = fetch(
        """SELECT b.id FROM channel_database b JOIN channel h ON h.id = b.channel_id
            WHERE b.id = ANY(%(databases)s)
              AND (b.id <> ALL(%(suspended)s::bigint[]) AND EXISTS (
                     SELECT FROM customer k
                      WHERE k.company_id = h.company_id AND k.change_no > b.position)
               OR EXISTS (SELECT FROM download_exception e JOIN customer k ON k.id = e.customer_id
                           WHERE e.database_id = b.id AND e.settled_at IS NULL
                             AND k.change_no <= b.position)
               OR EXISTS (SELECT FROM download_session s JOIN package p ON p.id = s.package_id
                           WHERE s.database_id = b.id AND s.status = ANY(%(due)s)
                             AND p.to_no <= b.position))""",
        {
            "databases": list(databases),
            "due": [status.value for status in DUE_DOWNLOADS],
            "suspended": list(suspended.values_list("database", flat=True)),
        },
    )
    return [database for (database,) in pending]


def count_pending(database: ChannelDatabase) -> int:
    """How many customers the database lacks in their present version."""
    (customers,) = fetch_one(
        """SELECT (SELECT count(*) FROM customer k
                    WHERE k.company_id = h.company_id AND k.change_no > b.position)
                + (SELECT count(*) FROM download_exception e JOIN customer k ON k.id = e.customer_id
                    WHERE e.database_id = b.id AND e.settled_at IS NULL
                      AND k.change_no <= b.position)
             FROM channel_database b JOIN channel h ON h.id = b.channel_id WHERE b.id = %s""",
        [database.pk],
    )
    return int(customers)


class ChannelDownload:
    """A visit that sends one channel database what it lacks, package after package."""

    def __init__(self, step: RunStep) -> None:
        self.step, self.database = step, step.its_database
        # The one that is on its way.
        self.session: DownloadSession | None = None
        # Customers that the channel has refused at this visit.
        self.refused: set[int] = set()

    def visit(self) -> None:
        """Send all that is pending; what goes wrong is also noted at the session.

        Errors: StepFailed if a person has canceled the session; those of the channel.
        """
        try:
            # Before the channel is opened: one that cannot be has a session that says so.
            self.session = self.next_session()
            if self.database.is_held:
                return
            with enter(self.step) as channel:
                self.note_position(channel)
                self.send_packages(channel)
                if not self.database.is_held:
                    self.send_again(channel)
                    self.retry_exceptions(channel)
        except SessionCanceled:
            raise StepFailed(CANCELED) from None
        except RunLost:
            # Whoever does the step now goes on with the session.
            raise
        except Exception as error:
            if self.session:
                fail_session(self.session, error, describe_failure(error))
            raise

    def next_session(self) -> DownloadSession | None:
        """Request the next package for the database, from its position as HQ has noted it.

        None if there is none, or its session is suspended, as it is while downloads are on hold.
        """
        self.session = None
        fields = ["position", "starts_over", "held_since", "strict_order"]
        self.database.refresh_from_db(fields=fields)
        package = self.next_package(self.database.channel.company_id, self.database.position)
        if self.database.is_held:
            suspend_session(self.step, package)
            return None
        return request_session(self.step, package) if package else None

    def next_package(self, company: str, position: int) -> Package | None:
        if is_up_to_date(company, position):
            return None
        return find_package(company, position) or self.make_package(company, position)

    def make_package(self, company: str, position: int) -> Package | None:
        """Make the package, or wait for another database's download that does. None: no data.

        Errors: StepFailed if HQ's own database refuses it.
        """
        self.session = session = start_session(self.step)
        try:
            package = package_for(company, position, self.step.run_id)
        except DATABASE_ERRORS as error:
            if not is_data_error(error):
                raise
            raise StepFailed(
                f"Headquarters cannot make the next package ({describe_error(error)})."
            ) from error
        failpoint("download:after_package")
        if package is None:
            close_session(session, DownloadStatus.NO_DATA, NO_DATA)
        return package

    def note_position(self, channel: FencedChannel) -> None:
        """Copy what the channel says it has. HQ has noted less if a run died before it could.

        Effects: HQ's row of the database, sessions and counts, committed at once. The session is
        another one if it was not for this position.
        """
        requested_for = self.database.position
        self.database.refresh_from_db(fields=["position", "starts_over"])
        noted = self.database.position
        if not self.database.starts_over and channel.position != noted:
            with self.step.chunk(may_stop=False):
                arrived = note_arrived(self.step, since=noted, position=channel.position)
                self.step.add(distributed=arrived)
                note_untold(self.database, channel.position)
                noting: dict[str, int] = {"position": channel.position}
                if channel.position < noted:
                    # It was set back.
                    noting["received_no"] = 0
                ChannelDatabase.objects.filter(
                    pk=self.database.pk, position=noted, starts_over=False
                ).update(**noting)
            failpoint("download:after_noting")
            self.database.refresh_from_db(fields=["position", "starts_over"])
        if self.database.position != requested_for:
            self.session = self.next_session()

    def send_packages(self, channel: FencedChannel) -> None:
        """Bring the channel to the latest change, or until it has had its share.

        Errors: PositionMoved, SessionCanceled.
        """
        if self.session is None:
            self.session = self.next_session()
        while self.session:
            if not self.database.starts_over and channel.position != self.database.position:
                raise PositionMoved
            may_go_on = self.send(channel, self.session, is_next=True)
            self.session = None
            if may_go_on and not self.step.time_slice_used:
                self.session = self.next_session()

    def send_again(self, channel: FencedChannel) -> None:
        """Send packages again that a person has asked for. Errors: SessionCanceled."""
        for session in resends(self.database):
            with self.step.chunk():
                request(self.step, session)
            failpoint("download:after_rerun")
            self.session = session
            self.send(channel, session, is_next=False)
        self.session = None

    def send(self, channel: FencedChannel, session: DownloadSession, *, is_next: bool) -> bool:
        """Write the package of a session, but for customers that the channel refuses.

        One whose data is gone is closed; if it `is_next`, another one takes its place. Returns
        whether the next one may follow: in strict order not after a refusal.
        """
        package = session.package
        if package is None:
            raise TypeError(f"session {session} has no package")
        try:
            tables = load_tables(package)
        except PackageDropped:
            close_session(session, DownloadStatus.CANCELED, DROPPED)
            return True
        note_downloaded(self.step, session, tables)
        move = PositionMove(channel.company, channel.position, package.to_no) if is_next else None
        written = self.write(channel, session, tables, move)
        if written.times_held_up:
            with self.step.chunk(may_stop=False):
                self.step.add(failed=len(written.refused))
                settle_accepted(session, written.refused)
                hold_up(
                    session,
                    package,
                    customers=package.customers - len(written.refused),
                    rows=written.rows,
                    parts=written.parts,
                    times=written.times_held_up,
                )
            return False
        with self.step.chunk(may_stop=False):
            delivered = package.customers - len(written.refused)
            self.step.add(distributed=delivered, failed=len(written.refused))
            note_applied(session, customers=delivered, rows=written.rows, parts=written.parts)
            if move:
                # Unless somebody has asked for everything meanwhile.
                ChannelDatabase.objects.filter(
                    pk=self.database.pk, starts_over=self.database.starts_over
                ).update(position=move.to, starts_over=False)
            failpoint("download:before_delivered")
        failpoint("download:after_delivered")
        return True

    def write(
        self,
        channel: FencedChannel,
        session: DownloadSession,
        tables: Sequence[TableData],
        move: PositionMove | None,
    ) -> "Written":
        """Write rows into the channel, all at once or, if it refuses some, without these.

        Those refused are noted in HQ before the channel's position passes them; in strict order it
        does not.
        """
        parts = count(session.tries % MAX_COUNTED_TRIES * PARTS_PER_TRY + 1)
        rows: list[int] = []

        def apply(some: Sequence[TableData], move: PositionMove | None = None) -> None:
            self.step.check_stop()
            rows.append(
                channel.apply(some, session=session.pk, part=next(parts), job=JOB, move=move)
            )
            failpoint("download:after_channel_commit")

        def apply_accounts(accounts: Sequence[str] | None) -> None:
            if accounts is None:
                apply(tables, move)
            else:
                apply(select_accounts(tables, accounts))

        _, refused = bisect_rows(
            apply_accounts, lambda: accounts_in(tables), attempt=self_committing
        )
        times_held_up = 0
        if refused:
            may_hold_up = self.database.strict_order and move is not None
            with self.step.chunk(may_stop=False):
                recorded = record_refused(self.database, refused, hold_up=may_hold_up)
            self.refused |= recorded.customers
            times_held_up = recorded.times if may_hold_up else 0
            failpoint("download:after_refused")
        if move and channel.position != move.to and not times_held_up:
            apply([], move)
        return Written(sum(rows), len(rows), refused, times_held_up)

    def retry_exceptions(self, channel: FencedChannel) -> None:
        """Send customers that the database lacks although its position is past them.

        Errors: SessionCanceled.
        """
        untried = [
            customer for customer in open_exceptions(self.database) if customer not in self.refused
        ]
        for customers in batched(untried, CUSTOMERS_PER_CHUNK):
            chosen = read_customers(customers)
            self.session = session = request_single_customers(self.step)
            note_downloaded(self.step, session, chosen.tables)
            written = self.write(channel, session, chosen.tables, None)
            settled = {
                customer.id: customer.version
                for customer in chosen.customers
                if customer.account not in written.refused
            }
            with self.step.chunk(may_stop=False):
                self.step.add(distributed=len(settled), failed=len(written.refused))
                settle(session, settled)
                if settled:
                    note_applied(
                        session, customers=len(settled), rows=written.rows, parts=written.parts
                    )
                else:
                    close_session(session, DownloadStatus.APPLY_FAILED, REFUSED)
            failpoint("download:after_retried")
            self.session = None
        with self.step.chunk(may_stop=False):
            report_refused_customers(self.database, has_refused=bool(self.refused))


def describe_failure(error: Exception) -> str:
    """Why a session failed, without a driver's own text, which may quote a row."""
    if isinstance(error, ChannelError | StepFailed | RunCancelled):
        return str(error)
    kind = describe_error(error) if isinstance(error, DATABASE_ERRORS) else type(error).__name__
    return f"Unexpected error ({kind}); see the run's technical details."


class Written(NamedTuple):
    """What was written of a session: rows, in how many transactions, and who was refused.

    `times_held_up` is how often its customers were refused that hold it up in strict order.
    """

    rows: int
    parts: int
    refused: Refusals
    times_held_up: int
