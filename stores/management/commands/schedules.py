"""What starts by itself: list, add, change, remove."""

import re
from datetime import time
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from stores.management.base import SynclineCommand, print_json
from stores.models import Channel, ChannelDatabaseGroup, Schedule
from stores.models.job import SCHEDULED_JOBS

ROW_FORMAT = "{id:<6} {job:<12} {rhythm:<26} {on:<4} {channels}"


class Command(SynclineCommand):
    help = (
        "What starts by itself beside the pipeline: list, add, change or remove a schedule. Jobs: "
        + ", ".join(SCHEDULED_JOBS)
        + ". Exit status: 0 done, 2 wrong arguments."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=["list", "add", "change", "remove"])
        parser.add_argument(
            "what", nargs="?", metavar="WHAT", help="add: the job; change, remove: as list names it"
        )
        parser.add_argument("--at", metavar="HH:MM", help="every day at this time, in UTC")
        parser.add_argument("--every", metavar="MINUTES", help="from one start to the next")
        parser.add_argument("--channel", metavar="CODE", help="for this channel alone")
        parser.add_argument("--group", metavar="NAME", help="for the channels in this group")
        switch = parser.add_mutually_exclusive_group()
        switch.add_argument("--on", action="store_true", help="change: switch it on")
        switch.add_argument("--off", action="store_true", help="add, change: switch it off")
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        action = options["action"]
        if action == "list":
            self.list(as_json=options["json"])
            return
        schedule = Schedule(job=options["what"]) if action == "add" else chosen(options["what"])
        if action == "remove":
            schedule.delete()
        else:
            fill_schedule(schedule, options)
            save_schedule(schedule)
        if options["json"]:
            print_json(self, described(schedule))
        else:
            word = {"add": "added", "change": "changed", "remove": "removed"}[action]
            self.stdout.write(f"{schedule}: {word}.")

    def list(self, *, as_json: bool) -> None:
        documents = [
            described(schedule) for schedule in Schedule.objects.select_related("channel", "group")
        ]
        if as_json:
            print_json(self, {"schedules": documents})
            return
        for row in documents:
            on = "on" if row["is_enabled"] else "off"
            self.stdout.write(ROW_FORMAT.format_map(row | {"on": on}))
        self.stdout.write(f"{len(documents)} schedules." if len(documents) != 1 else "1 schedule.")


def chosen(number: str | None) -> Schedule:
    """The schedule with this number. Errors: CommandError with status 2."""
    pk = int(number) if number and re.fullmatch(r"\d{1,18}", number, re.ASCII) else 0
    schedule = Schedule.objects.select_related("channel", "group").filter(pk=pk).first()
    if schedule is None:
        raise CommandError(f"There is no schedule {number or ''!r}; list shows them.", returncode=2)
    return schedule


def fill_schedule(schedule: Schedule, options: dict[str, Any]) -> None:
    """Take over what was said. Errors: CommandError with status 2."""
    if options["at"] is not None:
        schedule.at, schedule.every_minutes = parse_time_of_day(options["at"]), None
        schedule.start_after(timezone.now())
    if options["every"] is not None:
        if not re.fullmatch(r"\d{1,6}", options["every"], re.ASCII):
            raise CommandError("--every: minutes from 1 to 1440.", returncode=2)
        schedule.every_minutes = int(options["every"])
        schedule.at = None if options["at"] is None else schedule.at
    for name, models, key in (
        ("channel", Channel.objects, "code"),
        ("group", ChannelDatabaseGroup.objects, "name"),
    ):
        if options[name] is not None:
            row = models.filter(**{key: options[name]}).first()
            if row is None:
                raise CommandError(f"There is no {name} {options[name]!r}.", returncode=2)
            schedule.channel = schedule.group = None
            setattr(schedule, name, row)
    if options["channel"] is not None and options["group"] is not None:
        raise CommandError("Choose a channel or a group, not both.", returncode=2)
    if options["on"] or options["off"]:
        schedule.is_enabled = options["on"]


def parse_time_of_day(text: str) -> time:
    """A time of day. Errors: CommandError with status 2."""
    if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", text, re.ASCII):
        raise CommandError("--at: a time such as 22:30.", returncode=2)
    return time.fromisoformat(text)


def save_schedule(schedule: Schedule) -> None:
    """Save it if it can be. Errors: CommandError with status 2."""
    try:
        schedule.full_clean()
    except ValidationError as error:
        raise CommandError(" ".join(error.messages), returncode=2) from None
    schedule.save()


def described(schedule: Schedule) -> dict[str, Any]:
    group = f"group {schedule.group}" if schedule.group else "all"
    return {
        "id": schedule.pk,
        "job": schedule.job,
        "rhythm": schedule.cadence,
        "channels": schedule.channel.code if schedule.channel else group,
        "is_enabled": schedule.is_enabled,
        "next_start": schedule.next_start,
    }
