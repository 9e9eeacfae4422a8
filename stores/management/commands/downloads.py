"""List download sessions and change them; send customers, or everything, again."""

from collections.abc import Callable, Sequence
from typing import Any

from django.core.management.base import CommandParser

from stores.jobs.push import PushRefused, push_customers
from stores.management.arguments import (
    add_database,
    get_database,
    get_row_starting,
    parse_id_start,
    wrong_argument,
)
from stores.management.base import SynclineCommand, add_action, add_actions
from stores.messages.labels import counted
from stores.models import ChannelDatabase, Customer, DownloadException, DownloadSession
from stores.models.package import ExceptionReason
from stores.pipeline.download import sessions
from stores.pipeline.download.exceptions import add_exceptions
from stores.pipeline.download.outbound import count_rows_of

SESSION_FORMAT = "{id}  {database:<16} {status:<16} {at:%Y-%m-%d %H:%M}"
EXCEPTION_FORMAT = "{database:<16} {account:<20} {reason:<12} since {since:%Y-%m-%d %H:%M}"
MAX_LISTED = 100
CHANGES: dict[str, Callable[[DownloadSession], Any]] = {
    "cancel": sessions.cancel,
    "rerun": sessions.rerun,
    "delete": sessions.delete,
}
# For each change, what was done and what the next download does then.
EFFECTS = {
    "cancel": ("Canceled.", "sends what the channel lacks"),
    "rerun": ("", "sends its package again"),
    "delete": ("Deleted.", "sends what the channel lacks"),
}


class Command(SynclineCommand):
    help = (
        "Lists the download sessions that are not applied yet and the customers that channels "
        "reject; cancels, reruns or deletes a session; sends customers again, or everything. "
        "Exit status: 0 done, 1 not possible, 2 wrong arguments."
    )
    example = "downloads full kiosk/till-1 --dry-run"
    failures = (sessions.SessionRefused, PushRefused)

    def add_arguments(self, parser: CommandParser) -> None:
        actions = add_actions(parser)
        list_parser = add_action(actions, "list", self.list_sessions)
        list_parser.add_argument("--all", action="store_true", help="Finished sessions, too.")
        for action, words in (
            ("cancel", "Gives a session up before its data is on the way."),
            ("rerun", "Sends the package of a session again."),
            ("delete", "Removes a session that brought nothing."),
        ):
            change_parser = add_action(actions, action, self.change_session, words)
            change_parser.add_argument(
                "id",
                type=parse_id_start,
                metavar="ID",
                help="The session, as printed by list, or the first eight digits or more.",
            )
        resend_parser = add_action(actions, "resend", self.resend)
        add_database(resend_parser)
        resend_parser.add_argument("accounts", nargs="+", metavar="ACCOUNT")
        push_parser = add_action(actions, "push", self.push)
        add_database(push_parser)
        push_parser.add_argument("accounts", nargs="+", metavar="ACCOUNT")
        full_parser = add_action(actions, "full", self.send_everything)
        add_database(full_parser)
        full_parser.add_argument("--dry-run", action="store_true", help="Only counts the rows.")
        order_parser = add_action(actions, "strict-order", self.set_order)
        add_database(order_parser)
        order_parser.add_argument("switch", choices=("on", "off"))

    def list_sessions(self, options: dict[str, Any]) -> None:
        """Lists the latest hundred sessions, and the hundred oldest exceptions."""
        rows = DownloadSession.objects.select_related("database__channel")
        if not options["all"]:
            rows = rows.unfinished()
        exceptions = DownloadException.objects.open().select_related(
            "database__channel", "customer"
        )
        session_rows = [session_as_dict(session) for session in rows[:MAX_LISTED]]
        exception_rows = [
            exception_as_dict(exception) for exception in exceptions.order_by("since")[:MAX_LISTED]
        ]
        self.print_json_or_text(
            {"sessions": session_rows, "exceptions": exception_rows},
            *(
                f"{SESSION_FORMAT.format_map(row)}  {counted(row['customers'], 'customer')}"
                for row in session_rows
            ),
            *(EXCEPTION_FORMAT.format_map(row) for row in exception_rows),
            f"{counted(len(session_rows), 'session')}, "
            f"{counted(len(exception_rows), 'exception')}.",
        )

    def change_session(self, options: dict[str, Any]) -> None:
        action = options["action"]
        session = get_row_starting("session", options["id"], DownloadSession.objects.all())
        CHANGES[action](session)
        done, effect = EFFECTS[action]
        self.print_json_or_text(
            {"session": session.pk, "action": action},
            f"{done} {sessions.next_download(session.database, effect)}".strip(),
        )

    def resend(self, options: dict[str, Any]) -> None:
        """Sends customers again."""
        database = get_database(options["database"])
        customers = customer_ids(database, options["accounts"])
        # A download exception is a customer that is sent besides the packages.
        add_exceptions(database, customers, ExceptionReason.REQUESTED)
        self.print_json_or_text(
            {"database": database.label, "customers": len(customers)},
            sessions.next_download(database, f"sends {counted(len(customers), 'customer')} again"),
        )

    def push(self, options: dict[str, Any]) -> None:
        """Starts a download now that sends customers, and all else that is pending."""
        database = get_database(options["database"])
        customers = customer_ids(database, options["accounts"])
        started = push_customers(database, customers)
        run = started.run
        what = f"{counted(len(customers), 'customer')} to {database.label}"
        self.print_json_or_text(
            {"database": database.label, "customers": len(customers), "run": run.pk},
            f"1010 is started for {database.channel.code}, run {run.short_id}: it sends {what}."
            if started.is_new
            else f"1010 is already running, run {run.short_id}. It, or the next one, sends {what}.",
        )

    def send_everything(self, options: dict[str, Any]) -> None:
        """Sends everything again: all customers of the company."""
        database, dry_run = get_database(options["database"]), options["dry_run"]
        rows = count_rows_of(database.channel.company_id)
        if not dry_run:
            sessions.start_over(database)
        counts = ", ".join(f"{count:,} {table}" for table, count in rows.items())
        verb = "would send" if dry_run else "sends"
        self.print_json_or_text(
            {"database": database.label, "rows": rows, "dry_run": dry_run},
            sessions.next_download(database, f"{verb} {database.label} these rows: {counts}"),
        )

    def set_order(self, options: dict[str, Any]) -> None:
        """Sets whether a package that is refused in part holds up others."""
        database, is_strict = get_database(options["database"]), options["switch"] == "on"
        database.strict_order = is_strict
        database.save(update_fields=["strict_order"])
        words = "in strict order" if is_strict else "without those it refuses"
        self.print_json_or_text(
            {"database": database.label, "strict_order": is_strict},
            f"{database.label} is sent customers {words}.",
        )


def customer_ids(database: ChannelDatabase, accounts: Sequence[str]) -> list[int]:
    """The ids of customers of the database's company. Errors: wrong_argument()."""
    # A customer without a change number is for no channel.
    customers = Customer.objects.filter(
        company=database.channel.company, change_no__isnull=False, account_number__in=accounts
    )
    ids = dict(customers.values_list("account_number", "pk"))
    for account in accounts:
        if account not in ids:
            raise wrong_argument(f"Channels have no account {account!r}.")
    return list(ids.values())


def session_as_dict(session: DownloadSession) -> dict[str, Any]:
    return {
        "id": str(session.pk),
        "database": session.database.label,
        "status": session.status,
        "tries": session.tries,
        "at": session.started_at,
        "customers": session.customers,
        "rows": session.rows,
        "message": str(session.message) or None,
    }


def exception_as_dict(exception: DownloadException) -> dict[str, Any]:
    return {
        "database": exception.database.label,
        "account": exception.customer.account_number,
        "reason": exception.reason,
        "message": str(exception.message) or None,
        "tries": exception.tries,
        "since": exception.since,
    }
