"""List the channel databases; pause and resume them, and archive channels that have closed."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from django.core.management.base import CommandParser
from django.db.models import Count, QuerySet

from stores.channel_status import (
    ChannelStatus,
    Need,
    Timeliness,
    channel_statuses,
    status_word,
)
from stores.channeldb.errors import ChannelError, ChannelMisconfigured
from stores.jobs.liveness import LivenessProblem, liveness_problems
from stores.management.arguments import (
    add_database,
    add_reason,
    add_user,
    get_channel,
    get_database,
    get_user,
    wrong_argument,
)
from stores.management.base import SynclineCommand, add_action, add_actions, add_json
from stores.management.connections import add_address, print_test
from stores.messages.labels import counted
from stores.models import (
    Channel,
    ChannelDatabase,
    DownloadException,
    DownloadSession,
    Quarantine,
)
from stores.models.channel import Direction
from stores.models.staging import StagingStatus
from stores.pipeline.archive import ArchiveRefused, archive_channel, restore_channel
from stores.pipeline.configuration.distributed import SettingState, setting_states
from stores.pipeline.download.lacking import count_lacking
from stores.pipeline.download.sessions import suspended_in_strict_order
from stores.pipeline.events.rules import STAGING_MODELS
from stores.pipeline.pauses import PauseRefused, pause, resume
from stores.pipeline.register import (
    RegistrationRefused,
    change_address,
    check_connection,
    encrypt_passwords,
    stored_address,
)

# How many accounts of refused customers a database's JSON lists.
MAX_LISTED = 100


class Command(SynclineCommand):
    help = (
        "Lists the channel databases with their status and counts, as headquarters last saw them: "
        "no channel is opened. Below are problems such as a missing scheduler or worker. "
        "Pauses and resumes what is uploaded from a database or downloaded to it, changes its "
        "address, archives a channel that has closed, and brings it back. "
        "Exit status: 0 done, 1 not possible, 2 wrong arguments."
    )
    example = "channels pause kiosk --direction upload --reason Stocktaking"
    failures = (ArchiveRefused, ChannelError, PauseRefused, RegistrationRefused)

    def add_arguments(self, parser: CommandParser) -> None:
        # Without an action, the command lists.
        add_json(parser)
        parser.set_defaults(method=self.list_databases)
        actions = add_actions(parser, required=False)
        add_action(actions, "list", self.list_databases)
        pause_parser = add_action(actions, "pause", self.pause)
        add_database(pause_parser)
        add_direction(pause_parser)
        add_reason(pause_parser)
        add_user(pause_parser, required=False)
        resume_parser = add_action(actions, "resume", self.resume)
        add_database(resume_parser)
        add_direction(resume_parser)
        address_parser = add_action(actions, "address", self.change_address)
        add_database(address_parser)
        add_address(address_parser)
        archive_parser = add_action(actions, "archive", self.archive)
        archive_parser.add_argument("code", metavar="CODE", help="The code of the channel.")
        add_reason(archive_parser)
        add_user(archive_parser, required=False)
        archive_parser.add_argument(
            "--whatever-waits",
            action="store_true",
            help="Archives it although something of it waits, of which nothing will come.",
        )
        restore_parser = add_action(actions, "restore", self.restore)
        restore_parser.add_argument("code", metavar="CODE", help="The code of the channel.")
        add_action(actions, "encrypt", self.encrypt)

    def list_databases(self, options: dict[str, Any]) -> None:
        """Lists the channel databases, and problems such as a missing worker."""
        databases = list(database_rows())
        problems = list(liveness_problems())
        lines = [database_line(row) for row in databases]
        lines += [f"{problem.text} {problem.next_step}" for problem in problems]
        if not lines:
            lines = ["There are no channels yet. Run create_channel to add one."]
        concerns = [problem_as_dict(problem) for problem in problems]
        self.print_json_or_text({"channels": databases, "concerns": concerns}, *lines)

    def pause(self, options: dict[str, Any]) -> None:
        """Uploads nothing from a database, or downloads nothing to it, until resume."""
        database, reason = get_database(options["database"]), options["reason"]
        user = get_user(options["user"]) if options["user"] else None
        for direction in options["directions"] or Direction.values:
            pause(database, Direction(direction), reason, by=user)
        self.print_pauses(database)

    def resume(self, options: dict[str, Any]) -> None:
        """Ends a pause: the next runs make up for it."""
        database = get_database(options["database"])
        paused = [pause.direction for pause in database.pauses if pause.since]
        for direction in options["directions"] or paused or Direction.values:
            resume(database, Direction(direction))
        self.print_pauses(database)

    def print_pauses(self, database: ChannelDatabase) -> None:
        database.refresh_from_db()
        pauses = pauses_as_dict(database)
        self.print_json_or_text(
            {"database": database.label, "paused": pauses},
            *(
                f"{Direction(way).label} {database.label} are "
                + (f"paused: {paused['reason']}" if paused else "not paused.")
                for way, paused in pauses.items()
            ),
        )

    def change_address(self, options: dict[str, Any]) -> None:
        """Finds a database at another address from the next visit on; --test only tests it."""
        database = get_database(options["database"])
        url, secret = options["address"], options["secret"]
        try:
            if options["test"]:
                database.url, database.secret = stored_address(
                    database.channel, database.name, url, secret
                )
                print_test(self, check_connection(database))
                return
            change_address(database, url, secret)
        except (RegistrationRefused, ChannelMisconfigured) as error:
            raise wrong_argument(str(error)) from error
        self.print_json_or_text(
            {"database": database.label, "address": database.address},
            f"{database.label} is at {database.address} from its next visit on.",
        )

    def archive(self, options: dict[str, Any]) -> None:
        """Visits a channel no more; its customers, sales and traces stay."""
        channel = get_channel(options["code"])
        user = get_user(options["user"]) if options["user"] else None
        archive_channel(
            channel, options["reason"], by=user, whatever_waits=options["whatever_waits"]
        )
        self.print_channel(channel, f"Channel {channel.code} is archived.")

    def restore(self, options: dict[str, Any]) -> None:
        """Brings an archived channel back."""
        channel = get_channel(options["code"])
        restore_channel(channel)
        self.print_channel(channel, f"Channel {channel.code} is visited again.")

    def print_channel(self, channel: Channel, sentence: str) -> None:
        channel.refresh_from_db()
        self.print_json_or_text(
            {
                "channel": channel.code,
                "archived": channel.archived_at,
                "reason": channel.archive_reason or None,
            },
            sentence,
        )

    def encrypt(self, options: dict[str, Any]) -> None:
        """Encrypts all stored passwords with the first key of SYNCLINE_SECRETS_KEY."""
        encrypted = encrypt_passwords()
        self.print_json_or_text(
            {"encrypted": encrypted}, f"{counted(encrypted, 'password')} encrypted."
        )


def add_direction(parser: CommandParser) -> None:
    parser.add_argument(
        "--direction",
        action="append",
        dest="directions",
        choices=Direction.values,
        help="Only uploads, or only downloads; without it, both.",
    )


def pauses_as_dict(database: ChannelDatabase) -> dict[str, Any]:
    """For each direction since when it is paused, by whom and why; None if it is not."""
    return {
        pause.direction.value: {
            "since": pause.since,
            "by": pause.by and pause.by.get_username(),
            "reason": pause.reason,
        }
        if pause.since
        else None
        for pause in database.pauses
    }


def database_rows() -> Iterator[dict[str, Any]]:
    waiting: Counter[int] = Counter()
    for model in STAGING_MODELS.values():
        waiting += count_by_database(model.objects.open().filter(status=StagingStatus.PENDING))
    quarantined = count_by_database(Quarantine.objects.open())
    lacking = count_lacking()
    suspended = {session.database_id: session for session in suspended_in_strict_order()}
    databases = list(
        ChannelDatabase.objects.with_channel().select_related(
            "uploads_paused_by", "downloads_paused_by"
        )
    )
    settings, statuses = setting_states(databases), channel_statuses(databases)
    for database in databases:
        status = statuses[database.pk]
        yield {
            "channel": database.channel.code,
            "name": database.channel.name,
            "kind": database.channel.kind,
            "company": database.channel.company_id,
            "database": database.label,
            "status": database_status(database, is_blocked=status.is_blocked),
            "timeliness": status_as_dict(database, status),
            "error": str(database.last_error) or None,
            "paused": pauses_as_dict(database),
            "strict_order": database.strict_order,
            "suspended": suspension_as_dict(suspended.get(database.pk)),
            "counts": {
                "waiting": waiting[database.pk],
                "quarantined": quarantined[database.pk],
                "owed": lacking.get(database.pk, 0),
            },
            "last_visit": database.last_visited_at,
            "failures": database.failures,
            "next_try": database.next_try_at if database.is_backing_off else None,
            "settings": [setting_as_dict(state) for state in settings[database.pk]],
        }


def status_as_dict(database: ChannelDatabase, status: ChannelStatus) -> dict[str, Any]:
    """How a database is served: its status (None: switched off), and what that follows from."""
    return {
        "status": status.timeliness and status.timeliness.value,
        "word": status_word(database, status),
        "lag_minutes": status.lag_minutes,
        "needs": [need.value for need in status.needs],
        "waiting": [
            {"what": item.what.value, "since": item.since, "status": item.timeliness.value}
            for item in status.items
        ],
        "cause": status.cause and status.cause.value,
        "failing_since": database.failing_since,
        "incident": status.incident,
    }


def setting_as_dict(state: SettingState) -> dict[str, Any]:
    return {
        "job": state.job,
        "key": state.key,
        "effective": state.effective,
        "distributed": state.distributed,
        "pending": state.is_pending,
        "excluded": state.is_excluded,
        "confirmed_at": state.confirmed_at,
    }


def suspension_as_dict(session: DownloadSession | None) -> dict[str, Any] | None:
    """The session that, in strict order, all later ones wait for, and whom its channel refuses."""
    if session is None:
        return None
    refused = DownloadException.objects.holding_up().filter(database=session.database_id)
    accounts = refused.order_by("customer").values_list("customer__account_number", flat=True)
    return {
        "session": session.pk,
        "refuses": list(accounts[:MAX_LISTED]),
        "refused": refused.count(),
    }


def count_by_database(rows: QuerySet[Any]) -> Counter[int]:
    # A default order would become part of the grouping.
    groups = rows.order_by().values("database").annotate(count=Count("*"))
    return Counter({group["database"]: group["count"] for group in groups})


def database_status(database: ChannelDatabase, *, is_blocked: bool) -> str:
    if database.channel.is_archived:
        return "archived"
    if not (database.is_enabled and database.channel.is_enabled):
        return "disabled"
    if is_blocked:
        return "blocked"
    return "unreachable" if database.last_error else "ok"


def problem_as_dict(problem: LivenessProblem) -> dict[str, str]:
    return {
        "code": problem.code,
        "text": str(problem.text),
        "next_step": str(problem.next_step),
    }


def database_line(row: dict[str, Any]) -> str:
    last_visit = "never visited"
    if row["last_visit"]:
        last_visit = f"{row['last_visit']:%Y-%m-%d %H:%M}"
    counts, timeliness = row["counts"], row["timeliness"]
    line = (
        f"{row['database']:<16} {row['kind']:<12} {row['company']:<5} {timeliness['word']:<12} "
        f"{last_visit:<17} {counts['waiting']:,} waiting, {counts['quarantined']:,} quarantined, "
        f"{counts['owed']:,} pending"
    )
    for way, paused in row["paused"].items():
        if paused:
            line += f"  {way.capitalize()}s paused: {paused['reason']}"
    if row["suspended"]:
        line += (
            f"  Downloads suspended: {row['database']} refuses"
            f" {counted(row['suspended']['refused'], 'customer')}."
        )
    pending = sorted({state["job"] for state in row["settings"] if state["pending"]})
    if pending:
        line += f"  Settings pending: run {' and '.join(pending)}."
    if timeliness["status"] in (Timeliness.DELAYED, Timeliness.LATE):
        line += f"  Lag: {counted(timeliness['lag_minutes'], 'minute')}."
    if timeliness["incident"]:
        line += f"  Incident {timeliness['incident']} is open."
    if Need.NOT_SCHEDULED in timeliness["needs"]:
        line += "  No schedule covers all of its steps."
    if row["error"]:
        line += f"  {row['error']}"
    if row["next_try"]:
        failures = counted(row["failures"], "failure")
        line += f" Next try at {row['next_try']:%H:%M:%S}, after {failures}."
    return line
