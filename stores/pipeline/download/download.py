"""Job 1010: send HQ's customers to the channels.

The position of a channel database is the number of the last change that it has. The channel writes
its new position in the transaction that writes the rows of a package, so that a crash at any moment
neither leaves out a change nor does harm. HQ keeps a copy of the position.
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
from stores.hqdb.sql import batched, fetch_values
from stores.messages.message import EMPTY, Message
from stores.models import ChannelDatabase, Customer, DownloadSession, Package, RunStep
from stores.models.run import RunCancelled, RunLost, StepFailed
from stores.models.session import DUE_DOWNLOADS, DownloadStatus
from stores.pipeline.chunk_sizes import CUSTOMERS_PER_CHUNK
from stores.pipeline.download.exceptions import (
    Refusals,
    close_accepted,
    close_exceptions,
    customers_to_retry,
    record_refusals,
    report_refused_customers,
)
from stores.pipeline.download.outbound import accounts_in, read_customers, select_accounts
from stores.pipeline.download.packages import (
    PackageDropped,
    find_package,
    has_changes,
    load_tables,
    package_for,
)
from stores.pipeline.download.ranges import add_unexplained_ranges
from stores.pipeline.download.sessions import (
    CANCELED,
    DROPPED,
    NO_DATA,
    REFUSED,
    SessionCanceled,
    close_session,
    fail_session,
    note_applied,
    note_arrived,
    note_downloaded,
    note_partly_applied,
    repeated_sessions,
    request,
    request_session,
    request_single_customers,
    start_session,
    suspend_session,
    suspended_in_strict_order,
)
from stores.pipeline.fence.visit import FencedChannel, enter

JOB = "1010"
# Each try of a session numbers its parts, which are transactions of the channel, differently.
PARTS_PER_TRY = 1 << 16
MAX_COUNTED_TRIES = 1 << 14


def download_accounts(step: RunStep) -> None:
    """Send a channel database the customers that it lacks, in the order of their changes.

    A database is not opened if it lacks none, is paused, or waits for a person and has no customer
    to try again. Effects: packages; the channel's tables, one transaction for each package; then
    sessions and position in HQ.
    """
    if step.is_dry:
        with step.chunk():
            if not step.its_database.downloads_paused and not is_suspended(step.its_database):
                step.add(distributed=count_pending(step.its_database))
    elif with_pending([step.its_database.pk]):
        ChannelDownload(step).visit()


def is_suspended(database: ChannelDatabase) -> bool:
    """Return whether, in strict order, a person has to decide before the next package is sent."""
    sessions = suspended_in_strict_order().filter(database=database)
    return database.strict_order and sessions.exists()


def with_pending(databases: Sequence[int]) -> list[int]:
    """Return those of the databases to which a download would send something.

    This is a package, a customer with an open exception, or a package once more.
    """
    strict = fetch_values(
        "SELECT id FROM channel_database WHERE id = ANY(%s) AND strict_order", [list(databases)]
    )
    suspended = suspended_in_strict_order().filter(database__in=strict)
    return fetch_values(
        """SELECT database.id
             FROM channel_database database JOIN channel ON channel.id = database.channel_id
            WHERE database.id = ANY(%(databases)s)
              AND ((database.id <> ALL(%(suspended)s::bigint[])
                    AND EXISTS (SELECT FROM customer
                                 WHERE customer.company_id = channel.company_id
                                   AND customer.change_no > database.position))
                   OR EXISTS (SELECT FROM download_exception exception
                                JOIN customer ON customer.id = exception.customer_id
                               WHERE exception.database_id = database.id
                                 AND exception.settled_at IS NULL
                                 AND customer.change_no <= database.position)
                   OR EXISTS (SELECT FROM download_session session
                                JOIN package ON package.id = session.package_id
                               WHERE session.database_id = database.id
                                 AND session.status = ANY(%(due)s)
                                 AND package.to_no <= database.position))""",
        {
            "databases": list(databases),
            "due": [status.value for status in DUE_DOWNLOADS],
            "suspended": list(suspended.values_list("database", flat=True)) if strict else [],
        },
    )


def count_pending(database: ChannelDatabase) -> int:
    """Return how many customers the database lacks in their present version."""
    database.refresh_from_db(fields=["position"])
    changed = Customer.objects.filter(
        company=database.channel.company_id, change_no__gt=database.position
    )
    return changed.count() + customers_to_retry(database).count()


class ChannelDownload:
    """One visit to a channel database, which sends it what it lacks, package after package."""

    def __init__(self, step: RunStep) -> None:
        self.step, self.database = step, step.its_database
        # The session that is being sent.
        self.session: DownloadSession | None = None
        # The customers that the channel has refused during this visit.
        self.refused: set[int] = set()

    def visit(self) -> None:
        """Send all that is pending. A failure is recorded in the session that was being sent.

        Raise StepFailed if a person has canceled the session.
        """
        try:
            # Requested before the channel is opened, so that a failure to open it is recorded.
            self.session = self.next_session()
            if self.database.downloads_paused:
                return
            with enter(self.step) as channel:
                self.copy_position(channel)
                self.send_packages(channel)
                if not self.database.downloads_paused:
                    self.repeat_packages(channel)
                    self.retry_exceptions(channel)
        except SessionCanceled:
            raise StepFailed(CANCELED) from None
        except RunLost:
            # Another process has taken over the step, and goes on with the session.
            raise
        except Exception as error:
            if self.session:
                fail_session(self.session, error, describe_failure(error))
            raise

    def next_session(self) -> DownloadSession | None:
        """Request the next package for the database, from HQ's copy of its position.

        Return None if there is no package, or if its session is suspended.
        """
        self.session = None
        fields = ["position", "starts_over", "downloads_paused_at", "strict_order"]
        self.database.refresh_from_db(fields=fields)
        package = self.next_package(self.database.channel.company_id, self.database.position)
        if self.database.downloads_paused:
            suspend_session(self.step, package)
            return None
        return request_session(self.step, package) if package else None

    def next_package(self, company: str, position: int) -> Package | None:
        if not has_changes(company, position):
            return None
        return find_package(company, position) or self.make_package(company, position)

    def make_package(self, company: str, position: int) -> Package | None:
        """Make the package, or wait until the download of another database has made it.

        Return None if there is no data. Raise StepFailed if HQ's own database refuses it.
        """
        self.session = session = start_session(self.step)
        try:
            package = package_for(company, position, self.step.run_id)
        except DATABASE_ERRORS as error:
            if not is_data_error(error):
                raise
            message = Message("package_impossible", error=describe_error(error))
            raise StepFailed(message) from error
        failpoint("download:after_package")
        if package is None:
            close_session(session, DownloadStatus.NO_DATA, NO_DATA)
        return package

    def copy_position(self, channel: FencedChannel) -> None:
        """Copy the channel's position to HQ, which may be behind because a run has died.

        Effects: HQ's row of the database, sessions and counts, committed at once. If the position
        differs, another session is requested.
        """
        requested_for = self.database.position
        self.database.refresh_from_db(fields=["position", "starts_over"])
        copied = self.database.position
        if not self.database.starts_over and channel.position != copied:
            with self.step.chunk(may_stop=False):
                arrived = note_arrived(self.step, since=copied, position=channel.position)
                self.step.add(distributed=arrived)
                add_unexplained_ranges(self.database, channel.position)
                changed = {"position": channel.position}
                if channel.position < copied:
                    # The channel was restored from a backup.
                    changed["received_no"] = 0
                ChannelDatabase.objects.filter(
                    pk=self.database.pk, position=copied, starts_over=False
                ).update(**changed)
            failpoint("download:after_noting")
            self.database.refresh_from_db(fields=["position", "starts_over"])
        if self.database.position != requested_for:
            self.session = self.next_session()

    def send_packages(self, channel: FencedChannel) -> None:
        """Send packages up to the latest change, or until the time slice is used.

        Raise PositionMoved if another process has written to the channel; SessionCanceled.
        """
        if self.session is None:
            self.session = self.next_session()
        while self.session:
            if not self.database.starts_over and channel.position != self.database.position:
                raise PositionMoved
            may_continue = self.send(channel, self.session, is_next=True)
            self.session = None
            if may_continue and not self.step.time_slice_used:
                self.session = self.next_session()

    def repeat_packages(self, channel: FencedChannel) -> None:
        """Send once more the packages that a person has asked for. Raise SessionCanceled."""
        for session in repeated_sessions(self.database):
            with self.step.chunk():
                request(self.step, session)
            failpoint("download:after_rerun")
            self.session = session
            self.send(channel, session, is_next=False)
        self.session = None

    def send(self, channel: FencedChannel, session: DownloadSession, *, is_next: bool) -> bool:
        """Write the package of a session into the channel, except for refused customers.

        If it `is_next` after the channel's position, the position moves to its end. Return whether
        the next package may follow: in strict order, not after a refusal.
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
        delivered = package.customers - len(written.refused)
        if written.blocking_tries:
            with self.step.chunk(may_stop=False):
                self.step.add(failed=len(written.refused))
                close_accepted(session, written.refused)
                note_partly_applied(
                    session,
                    package,
                    customers=delivered,
                    rows=written.rows,
                    parts=written.parts,
                    tries=written.blocking_tries,
                )
            return False
        with self.step.chunk(may_stop=False):
            self.step.add(distributed=delivered, failed=len(written.refused))
            note_applied(session, customers=delivered, rows=written.rows, parts=written.parts)
            if move:
                # Unless a person has asked for everything to be sent again meanwhile.
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

        HQ records the refused customers before the channel's position moves past them. In strict
        order it does not move past them.
        """
        numbers = count(session.tries % MAX_COUNTED_TRIES * PARTS_PER_TRY + 1)
        rows_of_parts: list[int] = []

        def apply(data: Sequence[TableData], move: PositionMove | None = None) -> None:
            self.step.check_stop()
            rows = channel.apply(data, session=session.pk, part=next(numbers), job=JOB, move=move)
            rows_of_parts.append(rows)
            failpoint("download:after_channel_commit")

        def apply_accounts(accounts: Sequence[str] | None) -> None:
            if accounts is None:
                apply(tables, move)
            else:
                apply(select_accounts(tables, accounts))

        _, refused = bisect_rows(
            apply_accounts, lambda: accounts_in(tables), attempt=self_committing
        )
        blocking_tries = 0
        if refused:
            blocks = self.database.strict_order and move is not None
            with self.step.chunk(may_stop=False):
                recorded = record_refusals(self.database, refused, blocks=blocks)
            self.refused |= recorded.customers
            blocking_tries = recorded.blocking_tries if blocks else 0
            failpoint("download:after_refused")
        if move and channel.position != move.to and not blocking_tries:
            apply([], move)
        return Written(sum(rows_of_parts), len(rows_of_parts), refused, blocking_tries)

    def retry_exceptions(self, channel: FencedChannel) -> None:
        """Send the customers with an open exception, unless just refused. Raise SessionCanceled."""
        to_retry = [
            customer
            for customer in customers_to_retry(self.database)
            if customer not in self.refused
        ]
        for customers in batched(to_retry, CUSTOMERS_PER_CHUNK):
            chosen = read_customers(customers)
            self.session = session = request_single_customers(self.step)
            note_downloaded(self.step, session, chosen.tables)
            written = self.write(channel, session, chosen.tables, None)
            arrived = {
                customer.id: customer.version
                for customer in chosen.customers
                if customer.account not in written.refused
            }
            with self.step.chunk(may_stop=False):
                self.step.add(distributed=len(arrived), failed=len(written.refused))
                close_exceptions(session, arrived)
                if arrived:
                    note_applied(
                        session, customers=len(arrived), rows=written.rows, parts=written.parts
                    )
                else:
                    close_session(session, DownloadStatus.APPLY_FAILED, REFUSED)
            failpoint("download:after_retried")
            self.session = None
        with self.step.chunk(may_stop=False):
            report_refused_customers(self.database, has_new=bool(self.refused))


def describe_failure(error: Exception) -> Message:
    """Return why a session failed, without the driver's own text, which may quote a row."""
    if isinstance(error, ChannelError | StepFailed):
        return error.message
    if isinstance(error, RunCancelled):
        return EMPTY
    kind = describe_error(error) if isinstance(error, DATABASE_ERRORS) else type(error).__name__
    return Message("unexpected_error_of_kind", error=kind)


class Written(NamedTuple):
    """The rows that a session wrote, in how many transactions, and the customers refused.

    `blocking_tries` is how often the channel has refused a customer that blocks later packages, or
    0 if none does.
    """

    rows: int
    parts: int
    refused: Refusals
    blocking_tries: int
