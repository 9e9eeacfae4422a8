"""List, add, change and remove schedules.

A schedule starts a job by itself: every day at a time (UTC), or again and again, so many minutes
after its last start. It applies to all channels, to one, or to a *group* of channel databases. To
apply it to all channels again, remove it and add it anew. The pipeline needs no schedule: the
scheduler always starts it again.
"""

from argparse import ArgumentTypeError, _ActionsContainer
from collections.abc import Mapping
from datetime import datetime, time
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandParser
from django.utils import timezone

from stores.management import arguments
from stores.management.base import SynclineCommand, add_action, add_actions
from stores.messages.labels import counted
from stores.models import ChannelDatabaseGroup, Schedule
from stores.models.job import SCHEDULED_JOBS
from stores.models.schedule import MINUTES_A_DAY


class Command(SynclineCommand):
    help = (
        "Lists, adds, changes or removes schedules: what starts on its own besides the pipeline. "
        "Exit status: 0 done, 2 wrong arguments."
    )
    example = "schedules add eod --at 22:30 --channel houston"

    def add_arguments(self, parser: CommandParser) -> None:
        actions = add_actions(parser)
        # The help of an action is the docstring of its method.
        add_action(actions, "list", self.list_schedules)

        add_parser = add_action(actions, "add", self.add_schedule)
        jobs = [job.value for job in SCHEDULED_JOBS]
        add_parser.add_argument(
            "job", choices=jobs, metavar="JOB", help=f"The job: {', '.join(jobs)}."
        )
        add_times(add_parser, required=True)
        add_places(add_parser)
        add_switch(add_parser, "--off", is_enabled=False, help_text="Adds it switched off.")

        change_parser = add_action(actions, "change", self.change_schedule)
        arguments.add_id(change_parser, "schedule")
        add_times(change_parser, required=False)
        add_places(change_parser)
        switch = change_parser.add_mutually_exclusive_group()
        add_switch(switch, "--on", is_enabled=True, help_text="Switches it on.")
        add_switch(switch, "--off", is_enabled=False, help_text="Switches it off.")

        remove_parser = add_action(actions, "remove", self.remove_schedule)
        arguments.add_id(remove_parser, "schedule")

    def list_schedules(self, options: dict[str, Any]) -> None:
        """Lists the schedules."""
        schedules = Schedule.objects.select_related("channel", "group")
        rows = [schedule_as_dict(schedule) for schedule in schedules]
        lines = [schedule_line(row) for row in rows]
        total = f"{counted(len(rows), 'schedule')}."
        self.print_json_or_text({"schedules": rows}, *lines, total)

    def add_schedule(self, options: dict[str, Any]) -> None:
        """Adds a schedule."""
        schedule = Schedule(job=options["job"])
        update_schedule(schedule, options)
        self.print_json_or_text(schedule_as_dict(schedule), f"{schedule}: added.")

    def change_schedule(self, options: dict[str, Any]) -> None:
        """Changes a schedule."""
        schedule = get_schedule(options["id"])
        update_schedule(schedule, options)
        self.print_json_or_text(schedule_as_dict(schedule), f"{schedule}: changed.")

    def remove_schedule(self, options: dict[str, Any]) -> None:
        """Removes a schedule."""
        schedule = get_schedule(options["id"])
        removed = schedule_as_dict(schedule)
        schedule.delete()
        self.print_json_or_text(removed, f"{schedule}: removed.")


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


def add_switch(parser: _ActionsContainer, option: str, *, is_enabled: bool, help_text: str) -> None:
    """Add an option that sets `is_enabled`; without it, `is_enabled` is None."""
    parser.add_argument(
        option, dest="is_enabled", action="store_const", const=is_enabled, help=help_text
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
    """Return the schedule with this id. Errors: CommandError with status 2 if there is none."""
    schedules = Schedule.objects.select_related("channel", "group")
    return arguments.get_row("schedule", pk, schedules)


def get_group(name: str) -> ChannelDatabaseGroup:
    """Return the group with this name. Errors: CommandError with status 2 if there is none."""
    return arguments.get_named("group", name, ChannelDatabaseGroup.objects.filter(name=name))


def update_schedule(schedule: Schedule, options: dict[str, Any]) -> None:
    """Set what the options give, leave the rest as it is, and save.

    Errors: CommandError with status 2 if the values do not go together.
    """
    if options["is_enabled"] is not None:
        schedule.is_enabled = options["is_enabled"]
    set_time(schedule, options)
    set_place(schedule, options)
    try:
        schedule.full_clean()
    except ValidationError as error:
        raise arguments.wrong_argument(" ".join(error.messages)) from error
    schedule.save()


def set_time(schedule: Schedule, options: dict[str, Any]) -> None:
    """Set the time of day or the minutes, each of which replaces the other."""
    if options["at"] is not None:
        schedule.at = options["at"]
        schedule.every_minutes = None
        # A time that is already over today is first due tomorrow.
        schedule.skip_past_start(timezone.now())
    elif options["every"] is not None:
        # Counted from the last start, so it may be due at once.
        schedule.at = None
        schedule.every_minutes = options["every"]


def set_place(schedule: Schedule, options: dict[str, Any]) -> None:
    """Set the channel or the group, each of which replaces the other."""
    if options["channel"] is not None:
        schedule.channel = arguments.get_channel(options["channel"])
        schedule.group = None
    elif options["group"] is not None:
        schedule.channel = None
        schedule.group = get_group(options["group"])


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
        "rhythm": schedule.rhythm,
        "channels": channels,
        "is_enabled": schedule.is_enabled,
        "next_start": schedule.next_start,
    }


def schedule_line(row: Mapping[str, Any]) -> str:
    """The line of a list for a row of schedule_as_dict()."""
    switch = "on" if row["is_enabled"] else "off"
    return f"{row['id']:<6} {row['job']:<12} {row['rhythm']:<26} {switch:<4} {row['channels']}"
