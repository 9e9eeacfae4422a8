"""Run all of Syncline on one computer, with a day of invented traffic."""

import socket
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError, CommandParser
from django.db import connections
from django.utils import timezone

from portal.embedded import Unavailable, processes, servers, supervisor
from portal.embedded.bootstrap import say
from portal.embedded.command_line import end_on_signals
from stores.channeldb.connect.connection import connect
from stores.channeldb.errors import ChannelError
from stores.channeldb.schema.tables import EVENT_TABLES
from stores.management.arguments import whole_number, wrong_argument
from stores.management.base import SynclineCommand, exit_status
from stores.models import ChannelDatabase, Schedule
from stores.models.job import JobCode
from stores.models.schedule import restore_scheduler
from stores.pipeline.events.rules import STAGING_MODELS
from stores.pipeline.register import RegistrationRefused, register_channel

COMPANY = "USRT"
USERS = ("viewer", "operator", "manager", "auditor", "administrator")
PREPARE_TIMEOUT_S = 600
ALWAYS_SHOWN = ("read", "staged", "converted", "distributed")
SHOWN_IF_ANY = ("unchanged", "updated", "linked", "waiting", "quarantined", "failed")


@dataclass(frozen=True)
class DemoChannel:
    """A channel of the demo; share is its part of the day's customers, in percent."""

    code: str
    name: str
    kind: str
    database: str
    share: int


CHANNELS = (
    DemoChannel("houston", "Houston", "store", "embedded", 35),
    DemoChannel("seattle", "Seattle", "store", "embedded", 25),
    DemoChannel("web", "Web shop", "online", "embedded", 30),
    DemoChannel("popup", "Pop-up store", "store", "sqlite:///channels/popup.sqlite3", 10),
)

# Besides those of every installation: for which channels, and when.
SCHEDULES: tuple[tuple[str, tuple[str, ...], dict[str, Any]], ...] = (
    (JobCode.ORDERS, (), {"every_minutes": 10}),
    (
        JobCode.END_OF_DAY,
        ("houston", "popup"),
        {"cron": "30 22 * * *", "time_zone": "America/Chicago"},
    ),
    (
        JobCode.END_OF_DAY,
        ("seattle",),
        {"cron": "30 22 * * *", "time_zone": "America/Los_Angeles"},
    ),
    (JobCode.END_OF_DAY, ("web",), {"cron": "30 0 * * *"}),
)


class Command(SynclineCommand):
    help = (
        "Starts everything on one computer: PostgreSQL, Valkey, web server, workers and scheduler, "
        "with a day of invented traffic, and prints where to sign in. Ctrl-C stops everything; the "
        "data is kept for the next start. "
        "Exit status: 0 done or already running, 1 failed, 2 wrong arguments, 75 busy."
    )
    example = "demo --port 8001 --customers 1000"
    failures = (Unavailable, ChannelError, RegistrationRefused)
    takes_json = False
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--port",
            type=whole_number(1, 65535),
            default=8000,
            help="The port of the web server (default: 8000).",
        )
        parser.add_argument(
            "--workers",
            type=whole_number(1, 64),
            default=2,
            help="How many workers to start (default: 2).",
        )
        parser.add_argument(
            "--customers",
            type=whole_number(0, 1_000_000),
            default=400,
            help="How many customers the traffic has (default: 400). It is loaded only once.",
        )
        parser.add_argument(
            "--once",
            action="store_true",
            help="Loads the traffic, runs the pipeline, prints the result and exits.",
        )
        parser.add_argument(
            "--json", action="store_true", help="With --once: prints the result as JSON."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["json"] and not options["once"]:
            raise wrong_argument("--json can only be used with --once.")
        if settings.PRODUCTION:
            raise CommandError("The demo does not run in production (SYNCLINE_PRODUCTION).")
        end_on_signals()
        if options["once"]:
            self.once(options["customers"])
        else:
            self.serve(options["port"], options["workers"], options["customers"])

    def once(self, customers: int) -> None:
        from stores.jobs.inline import run_inline

        with servers.in_use(settings.EMBEDDED, say):
            loaded = prepare_demo(customers)
            run = run_inline(JobCode.PIPELINE)
            connections.close_all()
        channels = counts_by_channel(run["steps"])
        self.print_json_or_text(
            {"loaded": loaded, "channels": channels, "run": run},
            *result_table(channels, run["counts"]),
            "",
            run["message"],
            status=exit_status(run["outcome"]),
        )

    def serve(self, port: int, workers: int, customers: int) -> None:
        """Prepare the databases and become the supervisor, unless a demo is running already."""
        paths, address = settings.EMBEDDED, f"http://127.0.0.1:{port}"
        lock = servers.claim(paths)
        if lock is None:
            self.stdout.write(f"Already running at {running_address()}")
            return
        require_free(port)
        paths.address.write_text(address)
        say(f"Preparing databases and traffic in {paths.data_dir} ...")
        with servers.running(paths):
            prepare_demo(customers)
            greeting = welcome(address)
            connections.close_all()
        programs = supervisor.programs(paths, port=port, workers=workers)
        say("Starting web, workers and scheduler ...")
        supervisor.serve(paths, lock, programs, port=port, greeting=greeting)


def require_free(port: int) -> None:
    """Refuse a port that the web server cannot use. Errors: CommandError."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except PermissionError as error:
            raise CommandError(
                f"Port {port} is for the system's own programs: choose one above 1023 with --port."
            ) from error
        except OSError as error:
            raise CommandError(
                f"Port {port} is taken by another program: choose another with --port."
            ) from error


def running_address() -> str:
    address = settings.EMBEDDED.address
    return str(address.read_text()) if address.exists() else "an address it has not chosen yet"


def prepare_demo(customers: int) -> dict[str, int]:
    """Make tables, channels, users, default schedules and, in empty databases, traffic.

    Shape: the events written into each channel. Effects: HQ and the four channels; harmless to
    repeat. Errors: Unavailable, ChannelError.
    """
    try:
        with processes.locked(settings.EMBEDDED.prepare_lock, seconds=PREPARE_TIMEOUT_S):
            call_command("migrate", interactive=False, verbosity=0)
            databases = {channel.code: register_demo_channel(channel) for channel in CHANNELS}
            make_users()
            restore_scheduler(timezone.now())
            if not are_empty(databases.values()):
                return {}
            make_schedules(databases)
            return load_traffic(databases, customers)
    except TimeoutError as error:
        raise Unavailable("Another demo is loading its traffic: try again later") from error


def register_demo_channel(channel: DemoChannel) -> ChannelDatabase:
    """Register the channel, or find it. Errors: RegistrationRefused, ChannelError."""
    try:
        return register_channel(
            code=channel.code,
            name=channel.name,
            kind=channel.kind,
            company=COMPANY,
            database=channel.database,
            account_format="C-######",
            first_number=1,
            last_number=999_999,
            country="USA",
        )
    except (RegistrationRefused, ChannelError):
        # After an earlier start it was changed, or its database is gone: it stays as it is.
        database = ChannelDatabase.objects.filter(channel__code=channel.code, name="").first()
        if database is None:
            raise
        return database


def make_users() -> None:
    """Make one user per role; they sign in through links alone."""
    from django.contrib.auth.models import Group, User

    from stores.roles import make_groups

    make_groups()
    for name in USERS:
        # The set-up pages are for staff.
        rights = {"is_staff": name == "administrator"}
        user, created = User.objects.get_or_create(username=name, defaults=rights)
        if created:
            user.set_unusable_password()
            user.save(update_fields=["password"])
        user.groups.add(*Group.objects.filter(name=name))


def make_schedules(databases: dict[str, ChannelDatabase]) -> None:
    """Schedule orders and the end of each store's day, unless somebody has scheduled such jobs."""
    jobs = [job for job, _, _ in SCHEDULES]
    if Schedule.objects.filter(job__in=jobs).exists():
        return
    for job, codes, times in SCHEDULES:
        schedule = Schedule(job=job, **times)
        schedule.save_settings(timezone.now())
        schedule.channels.set(databases[code].channel_id for code in codes)


def are_empty(databases: Iterable[ChannelDatabase]) -> bool:
    """Whether HQ has no staged events, and no till has written any. Errors: ChannelError."""
    if any(model.objects.exists() for model in STAGING_MODELS.values()):
        return False
    return not any(holds_events(database) for database in databases)


def holds_events(database: ChannelDatabase) -> bool:
    """Whether a till has ever written to the channel. Errors: ChannelError."""
    with connect(database) as alias, connections[alias].cursor() as cursor:
        for event_table in EVENT_TABLES:
            # The names are those of our own schema.
            cursor.execute(f"SELECT 1 FROM {event_table.name} LIMIT 1")  # noqa: S608
            if cursor.fetchone():
                return True
    return False


def load_traffic(databases: dict[str, ChannelDatabase], customers: int) -> dict[str, int]:
    from stores.traffic import write_traffic

    events = {}
    remaining = customers
    for number, channel in enumerate(CHANNELS, start=1):
        # The last channel gets the rest that rounding down left.
        share = remaining if channel is CHANNELS[-1] else customers * channel.share // 100
        remaining -= share
        if share:
            written = write_traffic(
                databases[channel.code],
                customers=share,
                edits=share // 10,
                seed=seed_of_yesterday(number),
            )
            events[channel.code] = written.rows.total()
    if events:
        say(f"{customers} customers wrote {sum(events.values())} events into the channels.")
    return events


def welcome(address: str) -> str:
    """The text to print once the web server answers: its address and a sign-in link per role."""
    from stores.web.signin import sign_in_link

    links = [f"  {name:<14} {address}{sign_in_link(name)}" for name in USERS]
    return "\n".join(
        [
            "",
            f"Syncline answers at {address}/",
            "",
            "Sign in through one of these links. Each works once, within five minutes;",
            "`python3 manage.py sign_in_link USER` makes another.",
            *links,
            "",
            f"Ctrl-C stops everything. Logs: {settings.EMBEDDED.logs}",
            "",
        ]
    )


def counts_by_channel(steps: Iterable[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Sum the counts of a run's steps by channel; steps without a channel are HQ's."""
    totals: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for step in steps:
        totals[step["channel"] or "HQ"].update(step["counts"])
    return {channel: dict(counts) for channel, counts in totals.items()}


def result_table(channels: dict[str, dict[str, int]], total: dict[str, int]) -> list[str]:
    rows = channels | {"total": total}
    columns = list(ALWAYS_SHOWN)
    for column in SHOWN_IF_ANY:
        if any(counts.get(column) for counts in rows.values()):
            columns.append(column)
    width = max(len(title) for title in ("channel", *rows))
    lines = ["channel".ljust(width) + "".join(f"  {column:>11}" for column in columns)]
    for title, counts in rows.items():
        cells = "".join(f"  {counts.get(column, 0):>11}" for column in columns)
        lines.append(title.ljust(width) + cells)
    return lines


def seed_of_yesterday(number: int) -> int:
    """A traffic seed that begins with yesterday's date, such as 20260301000001."""
    yesterday = timezone.localdate() - timedelta(days=1)
    return int(f"{yesterday:%Y%m%d}") * 1_000_000 + number
