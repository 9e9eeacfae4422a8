"""List, add, change and remove schedules."""

from argparse import ArgumentTypeError
from collections.abc import Mapping
from datetime import datetime, time
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from stores.management.arguments import check_channel, is_searchable, whole_number
from stores.management.base import SynclineCommand, add_actions
from stores.models import Channel, ChannelDatabaseGroup, Schedule
from stores.models.job import SCHEDULED_JOBS
from stores.models.schedule import MINUTES_A_DAY


class Command(SynclineCommand):
    help = (
        "What starts by itself beside the pipeline: list, add, change or remove a schedule. Jobs: "
        + ", ".join(SCHEDULED_JOBS)
        + ". Exit status: 0 done, 2 wrong arguments."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        actions = add_actions(parser)
        actions.add_parser("list", help="list the schedules")

        add_parser = actions.add_parser("add", help="add a schedule")
        codes = [job.value for job in SCHEDULED_JOBS]
        add_parser.add_argument("job", choices=codes, metavar="JOB", help="the job")
        add_times(add_parser, required=True)
        add_places(add_parser)
        add_parser.add_argument("--off", action="store_true", help="add it switched off")

        change_parser = actions.add_parser("change", help="change a schedule")
        add_id(change_parser)
        add_times(change_parser, required=False)
        add_places(change_parser)
        switch = change_parser.add_mutually_exclusive_group()
        switch.add_argument("--on", action="store_true", help="switch it on")
        switch.add_argument("--off", action="store_true", help="switch it off")

        add_id(actions.add_parser("remove", help="remove a schedule"))

    def handle(self, *args: Any, **options: Any) -> None:
        action = options["action"]
        if action == "list":
            self.list_schedules(as_json=options["json"])
        elif action == "add":
            schedule = Schedule(job=options["job"], is_enabled=not options["off"])
            update_schedule(schedule, options)
            self.report(schedule_as_dict(schedule), f"{schedule}: added.", options)
        elif action == "change":
            schedule = get_schedule(options["id"])
            if options["on"] or options["off"]:
                schedule.is_enabled = options["on"]
            update_schedule(schedule, options)
            self.report(schedule_as_dict(schedule), f"{schedule}: changed.", options)
        elif action == "remove":
            schedule = get_schedule(options["id"])
            removed = schedule_as_dict(schedule)
            schedule.delete()
            self.report(removed, f"{schedule}: removed.", options)

    def list_schedules(self, *, as_json: bool) -> None:
        schedules = Schedule.objects.select_related("channel", "group")
        rows = [schedule_as_dict(schedule) for schedule in schedules]
        self.print_list("schedule", rows, schedule_line, as_json=as_json)

    def report(self, document: dict[str, Any], sentence: str, options: dict[str, Any]) -> None:
        if options["json"]:
            self.print_json(document)
        else:
            self.stdout.write(sentence)


def add_id(parser: CommandParser) -> None:
    parser.add_argument("id", type=int, metavar="ID", help="the schedule, as list names it")


def add_times(parser: CommandParser, *, required: bool) -> None:
    times = parser.add_mutually_exclusive_group(required=required)
    times.add_argument(
        "--at", type=parse_time, metavar="HH:MM", help="every day at this time, in UTC"
    )
    times.add_argument(
        "--every",
        type=whole_number(1, MINUTES_A_DAY),
        metavar="MINUTES",
        help="from one start to the next",
    )


def add_places(parser: CommandParser) -> None:
    places = parser.add_mutually_exclusive_group()
    places.add_argument("--channel", metavar="CODE", help="only for this channel")
    places.add_argument("--group", metavar="NAME", help="only for the channels in this group")


def parse_time(text: str) -> time:
    """Convert HH:MM to a time of day."""
    try:
        return datetime.strptime(text, "%H:%M").time()  # noqa: DTZ007 - a time has no zone
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a time of day such as 22:30") from None


def get_schedule(pk: int) -> Schedule:
    """Return the schedule with this id. Errors: CommandError with status 2."""
    schedule = Schedule.objects.select_related("channel", "group").filter(pk=pk).first()
    if schedule is None:
        raise CommandError(f"There is no schedule {pk}; list shows them.", returncode=2)
    return schedule


def get_group(name: str) -> ChannelDatabaseGroup:
    """Return the group with this name. Errors: CommandError with status 2."""
    groups = ChannelDatabaseGroup.objects.filter(name=name)
    group = groups.first() if is_searchable(name) else None
    if group is None:
        raise CommandError(f"There is no group {name!r}.", returncode=2)
    return group


def update_schedule(schedule: Schedule, options: dict[str, Any]) -> None:
    """Set the time and the channels that the options give, and save the schedule.

    Errors: CommandError with status 2.
    """
    if options["at"] is not None:
        schedule.at, schedule.every_minutes = options["at"], None
        schedule.start_after(timezone.now())
    if options["every"] is not None:
        schedule.at, schedule.every_minutes = None, options["every"]
    if options["channel"] is not None:
        check_channel(options["channel"])
        schedule.channel, schedule.group = Channel.objects.get(code=options["channel"]), None
    if options["group"] is not None:
        schedule.channel, schedule.group = None, get_group(options["group"])
    try:
        schedule.full_clean()
    except ValidationError as error:
        raise CommandError(" ".join(error.messages), returncode=2) from error
    schedule.save()


def schedule_as_dict(schedule: Schedule) -> dict[str, Any]:
    """The schedule as JSON output shows it."""
    if schedule.channel:
        channels = schedule.channel.code
    elif schedule.group:
        channels = f"group {schedule.group}"
    else:
        channels = "all"
    return {
        "id": schedule.pk,
        "job": schedule.job,
        "rhythm": schedule.cadence,
        "channels": channels,
        "is_enabled": schedule.is_enabled,
        "next_start": schedule.next_start,
    }


def schedule_line(row: Mapping[str, Any]) -> str:
    switch = "on" if row["is_enabled"] else "off"
    return f"{row['id']:<6} {row['job']:<12} {row['rhythm']:<26} {switch:<4} {row['channels']}"
