"""List, add, change and remove schedules."""

from argparse import ArgumentTypeError
from collections.abc import Mapping
from datetime import datetime, time
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandParser
from django.utils import timezone

from stores.management import arguments
from stores.management.base import SynclineCommand, add_actions
from stores.models import Channel, ChannelDatabaseGroup, Schedule
from stores.models.job import SCHEDULED_JOBS
from stores.models.labels import counted
from stores.models.schedule import MINUTES_A_DAY


class Command(SynclineCommand):
    help = (
        "Lists, adds, changes or removes schedules: what starts on its own besides the pipeline. "
        "Exit status: 0 done, 2 wrong arguments."
    )
    example = "schedules add eod --at 22:30 --channel houston"

    def add_arguments(self, parser: CommandParser) -> None:
        actions = add_actions(parser)
        actions.add_parser("list", help="Lists the schedules.")

        add_parser = actions.add_parser("add", help="Adds a schedule.")
        jobs = [job.value for job in SCHEDULED_JOBS]
        add_parser.add_argument(
            "job", choices=jobs, metavar="JOB", help=f"The job: {', '.join(jobs)}."
        )
        add_times(add_parser, required=True)
        add_places(add_parser)
        add_parser.add_argument("--off", action="store_true", help="Adds it switched off.")

        change_parser = actions.add_parser("change", help="Changes a schedule.")
        arguments.add_id(change_parser, "schedule")
        add_times(change_parser, required=False)
        add_places(change_parser)
        switch = change_parser.add_mutually_exclusive_group()
        switch.add_argument("--on", action="store_true", help="Switches it on.")
        switch.add_argument("--off", action="store_true", help="Switches it off.")

        remove_parser = actions.add_parser("remove", help="Removes a schedule.")
        arguments.add_id(remove_parser, "schedule")

    def handle(self, *args: Any, **options: Any) -> None:
        action = options["action"]
        if action == "list":
            self.list_schedules()
        elif action == "add":
            self.add_schedule(options)
        elif action == "change":
            self.change_schedule(get_schedule(options["id"]), options)
        elif action == "remove":
            self.remove_schedule(get_schedule(options["id"]))

    def list_schedules(self) -> None:
        schedules = Schedule.objects.select_related("channel", "group")
        rows = [schedule_as_dict(schedule) for schedule in schedules]
        lines = [schedule_line(row) for row in rows]
        self.answer({"schedules": rows}, *lines, f"{counted(len(rows), 'schedule')}.")

    def add_schedule(self, options: dict[str, Any]) -> None:
        schedule = Schedule(job=options["job"], is_enabled=not options["off"])
        update_schedule(schedule, options)
        self.answer(schedule_as_dict(schedule), f"{schedule}: added.")

    def change_schedule(self, schedule: Schedule, options: dict[str, Any]) -> None:
        if options["on"] or options["off"]:
            schedule.is_enabled = options["on"]
        update_schedule(schedule, options)
        self.answer(schedule_as_dict(schedule), f"{schedule}: changed.")

    def remove_schedule(self, schedule: Schedule) -> None:
        removed = schedule_as_dict(schedule)
        schedule.delete()
        self.answer(removed, f"{schedule}: removed.")


def add_times(parser: CommandParser, *, required: bool) -> None:
    times = parser.add_mutually_exclusive_group(required=required)
    times.add_argument(
        "--at", type=parse_time, metavar="HH:MM", help="Starts every day at this time (UTC)."
    )
    times.add_argument(
        "--every",
        type=arguments.whole_number(1, MINUTES_A_DAY),
        metavar="MINUTES",
        help="Starts again so many minutes after the last start.",
    )


def add_places(parser: CommandParser) -> None:
    places = parser.add_mutually_exclusive_group()
    places.add_argument("--channel", metavar="CODE", help="Only for this channel.")
    places.add_argument("--group", metavar="NAME", help="Only for the channels of this group.")


def parse_time(text: str) -> time:
    try:
        return datetime.strptime(text, "%H:%M").time()  # noqa: DTZ007 - a time has no zone
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a time of day such as 22:30") from None


def get_schedule(pk: int) -> Schedule:
    """Return the schedule with this id. Errors: CommandError with status 2."""
    schedules = Schedule.objects.select_related("channel", "group")
    return arguments.get_row("schedule", pk, schedules)


def get_group(name: str) -> ChannelDatabaseGroup:
    """Return the group with this name. Errors: CommandError with status 2."""
    groups = ChannelDatabaseGroup.objects.filter(name=name)
    group = groups.first() if arguments.is_searchable(name) else None
    if group is None:
        raise arguments.wrong_argument(f"There is no group {name!r}.")
    return group


def update_schedule(schedule: Schedule, options: dict[str, Any]) -> None:
    """Set the time and the channels that the options give, and save. Errors: CommandError."""
    if options["at"] is not None:
        schedule.at, schedule.every_minutes = options["at"], None
        schedule.start_after(timezone.now())
    if options["every"] is not None:
        schedule.at, schedule.every_minutes = None, options["every"]
    if options["channel"] is not None:
        arguments.check_channel(options["channel"])
        schedule.channel, schedule.group = Channel.objects.get(code=options["channel"]), None
    if options["group"] is not None:
        schedule.channel, schedule.group = None, get_group(options["group"])
    try:
        schedule.full_clean()
    except ValidationError as error:
        raise arguments.wrong_argument(" ".join(error.messages)) from error
    schedule.save()


def schedule_as_dict(schedule: Schedule) -> dict[str, Any]:
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
