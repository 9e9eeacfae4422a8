"""List download sessions and change them; send customers, or everything, again."""

from collections.abc import Callable, Sequence
from typing import Any

from django.core.management.base import CommandError, CommandParser

from stores.management.arguments import add_reason, get_row, parse_uuid
from stores.management.base import SynclineCommand, add_actions
from stores.models import ChannelDatabase, Customer, DownloadException, DownloadSession
from stores.models.labels import counted
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
# What was done, and what the next download does then.
DONE = {
    "cancel": ("Canceled.", "sends what the channel lacks"),
    "rerun": ("", "sends its package again"),
    "delete": ("Deleted.", "sends what the channel lacks"),
}


class Command(SynclineCommand):
    help = (
        "Lists the download sessions that are not applied yet and the customers that channels "
        "reject; cancels, reruns or deletes a session; sends customers, or everything, again; "
        "holds and resumes the downloads of a database. "
        "Exit status: 0 done, 1 not possible, 2 wrong arguments."
    )
    example = "downloads full kiosk/till-1 --dry-run"

    def add_arguments(self, parser: CommandParser) -> None:
        actions = add_actions(parser)
        list_parser = actions.add_parser("list", help="Lists sessions and exceptions.")
        list_parser.add_argument("--all", action="store_true", help="Applied sessions, too.")
        for action, words in (
            ("cancel", "Gives a session up before its data is on the way."),
            ("rerun", "Sends the package of a session again."),
            ("delete", "Removes a session that brought nothing."),
        ):
            change_parser = actions.add_parser(action, help=words)
            change_parser.add_argument(
                "id", type=parse_uuid, metavar="ID", help="The session, as printed by list."
            )
        resend_parser = actions.add_parser("resend", help="Sends customers again.")
        add_database(resend_parser)
        resend_parser.add_argument("accounts", nargs="+", metavar="ACCOUNT")
        full_parser = actions.add_parser("full", help="Sends everything again.")
        add_database(full_parser)
        full_parser.add_argument("--dry-run", action="store_true", help="Only counts the rows.")
        hold_parser = actions.add_parser("hold", help="Sends a database nothing until resume.")
        add_database(hold_parser)
        add_reason(hold_parser)
        add_database(actions.add_parser("resume", help="Sends it again what it lacks."))
        order_parser = actions.add_parser(
            "strict-order", help="Sets whether a package that is refused in part holds up others."
        )
        add_database(order_parser)
        order_parser.add_argument("switch", choices=("on", "off"))

    def handle(self, *args: Any, **options: Any) -> None:
        action = options["action"]
        if action == "list":
            self.list_sessions(include_ended=options["all"])
        elif action == "resend":
            self.resend(get_database(options["database"]), options["accounts"])
        elif action == "full":
            self.send_everything(get_database(options["database"]), dry_run=options["dry_run"])
        elif action == "hold":
            self.hold(get_database(options["database"]), options["reason"])
        elif action == "resume":
            self.resume(get_database(options["database"]))
        elif action == "strict-order":
            self.set_order(get_database(options["database"]), is_strict=options["switch"] == "on")
        else:
            session = get_row("session", options["id"], DownloadSession.objects.all())
            self.change_session(session, action)

    def list_sessions(self, *, include_ended: bool) -> None:
        """List the latest sessions, newest first, and the open exceptions, oldest first."""
        found = DownloadSession.objects.select_related("database__channel")
        if not include_ended:
            found = found.unfinished()
        exceptions = DownloadException.objects.open().select_related(
            "database__channel", "customer"
        )
        session_rows = [session_as_dict(session) for session in found[:MAX_LISTED]]
        exception_rows = [
            exception_as_dict(exception) for exception in exceptions.order_by("since")[:MAX_LISTED]
        ]
        self.answer(
            {"sessions": session_rows, "exceptions": exception_rows},
            *(
                f"{SESSION_FORMAT.format_map(row)}  {counted(row['customers'], 'customer')}"
                for row in session_rows
            ),
            *(EXCEPTION_FORMAT.format_map(row) for row in exception_rows),
            f"{counted(len(session_rows), 'session')}, "
            f"{counted(len(exception_rows), 'exception')}.",
        )

    def change_session(self, session: DownloadSession, action: str) -> None:
        try:
            CHANGES[action](session)
        except sessions.SessionRefused as refusal:
            raise CommandError(str(refusal)) from None
        done, does = DONE[action]
        self.answer(
            {"session": session.pk, "action": action},
            f"{done} {sessions.next_download(session.database, does)}".strip(),
        )

    def resend(self, database: ChannelDatabase, accounts: Sequence[str]) -> None:
        """Send customers again with the next download. Errors: CommandError with status 2."""
        customers = Customer.objects.filter(
            company=database.channel.company, change_no__isnull=False, account_number__in=accounts
        )
        ids = dict(customers.values_list("account_number", "pk"))
        for account in accounts:
            if account not in ids:
                raise CommandError(f"Channels have no account {account!r}.", returncode=2)
        add_exceptions(database, list(ids.values()), ExceptionReason.REQUESTED)
        self.answer(
            {"database": database.label, "customers": len(ids)},
            sessions.next_download(database, f"sends {counted(len(ids), 'customer')} again"),
        )

    def send_everything(self, database: ChannelDatabase, *, dry_run: bool) -> None:
        """Count the rows that everything is and, unless it is a dry run, have it sent again."""
        rows = count_rows_of(database.channel.company_id)
        if not dry_run:
            sessions.start_over(database)
        counts = ", ".join(f"{count:,} {table}" for table, count in rows.items())
        verb = "would send" if dry_run else "sends"
        self.answer(
            {"database": database.label, "rows": rows, "dry_run": dry_run},
            sessions.next_download(database, f"{verb} {database.label} these rows: {counts}"),
        )

    def hold(self, database: ChannelDatabase, reason: str) -> None:
        suspended = sessions.hold(database, reason)
        self.answer(
            {"database": database.label, "hold": reason, "suspended": suspended},
            f"Downloads to {database.label} are on hold; "
            f"{counted(suspended, 'session')} suspended.",
        )

    def resume(self, database: ChannelDatabase) -> None:
        """Errors: CommandError if it is not on hold."""
        try:
            resumed = sessions.resume(database)
        except sessions.SessionRefused as refusal:
            raise CommandError(str(refusal)) from None
        self.answer(
            {"database": database.label, "hold": None, "resumed": resumed},
            f"The next download sends {database.label} what it lacks.",
        )

    def set_order(self, database: ChannelDatabase, *, is_strict: bool) -> None:
        database.strict_order = is_strict
        database.save(update_fields=["strict_order"])
        words = "in strict order" if is_strict else "without those it refuses"
        self.answer(
            {"database": database.label, "strict_order": is_strict},
            f"{database.label} is sent customers {words}.",
        )


def add_database(parser: CommandParser) -> None:
    parser.add_argument("database", metavar="DATABASE", help="As printed by channels.")


def get_database(label: str) -> ChannelDatabase:
    """Return the channel database with this label. Errors: CommandError with status 2."""
    code, _, register = label.partition("/")
    databases = ChannelDatabase.objects.with_channel()
    database = databases.filter(channel__code=code, name=register).first()
    if database is None:
        raise CommandError(f"There is no channel database {label!r}.", returncode=2)
    return database


def session_as_dict(session: DownloadSession) -> dict[str, Any]:
    return {
        "id": str(session.pk),
        "database": session.database.label,
        "status": session.status,
        "tries": session.tries,
        "at": session.started_at,
        "customers": session.customers,
        "rows": session.rows,
        "message": session.message or None,
    }


def exception_as_dict(exception: DownloadException) -> dict[str, Any]:
    return {
        "database": exception.database.label,
        "account": exception.customer.account_number,
        "reason": exception.reason,
        "message": exception.message or None,
        "tries": exception.tries,
        "since": exception.since,
    }
