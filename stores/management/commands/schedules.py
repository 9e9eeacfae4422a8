"""What starts on its own: list, add, change, remove."""

import re
from datetime import time
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandParser
from django.utils import timezone

from stores.management.arguments import WrongArgument, chosen_row
from stores.management.base import SynclineCommand
from stores.models import Channel, ChannelDatabaseGroup, Schedule
from stores.models.job import SCHEDULED_JOBS
from stores.models.labels import counted

ROW_FORMAT = "{id:<6} {job:<12} {rhythm:<26} {on:<4} {channels}"
DONE_WORDS = {"add": "added", "change": "changed", "remove": "removed"}


class Command(SynclineCommand):
    help = (
        "Lists, adds, changes or removes schedules: what starts on its own besides the pipeline. "
        "Exit status: 0 done, 2 wrong arguments."
    )
    example = "schedules add eod --at 22:30 --channel houston"

    def add_arguments(self, parser: CommandParser) -> None:
        actions = ["list", "add", "change", "remove"]
        parser.add_argument("action", choices=actions, help="What to do.")
        parser.add_argument(
            "what",
            nargs="?",
            metavar="WHAT",
            help=f"add: the job ({', '.join(SCHEDULED_JOBS)}); "
            "change, remove: the ID of the schedule, as printed by list.",
        )
        parser.add_argument("--at", metavar="HH:MM", help="Starts every day at this time (UTC).")
        parser.add_argument(
            "--every", metavar="MINUTES", help="Starts again so many minutes after the last start."
        )
        parser.add_argument("--channel", metavar="CODE", help="Only for this channel.")
        parser.add_argument("--group", metavar="NAME", help="Only for the channels of this group.")
        switch = parser.add_mutually_exclusive_group()
        switch.add_argument("--on", action="store_true", help="change: switches it on.")
        switch.add_argument("--off", action="store_true", help="add, change: switches it off.")

    def handle(self, *args: Any, **options: Any) -> None:
        action, schedules = options["action"], Schedule.objects.select_related("channel", "group")
        if action == "list":
            rows = [described(row) for row in schedules]
            lines = (
                ROW_FORMAT.format_map(row | {"on": "on" if row["is_enabled"] else "off"})
                for row in rows
            )
            self.answer({"schedules": rows}, *lines, f"{counted(len(rows), 'schedule')}.")
            return
        if action == "add":
            schedule = Schedule(job=options["what"])
        else:
            schedule = chosen_row("schedule", options["what"], schedules)
        if action == "remove":
            schedule.delete()
        else:
            fill_schedule(schedule, options)
            save_schedule(schedule)
        self.answer(described(schedule), f"{schedule}: {DONE_WORDS[action]}.")


def fill_schedule(schedule: Schedule, options: dict[str, Any]) -> None:
    if options["at"] is not None:
        schedule.at, schedule.every_minutes = parse_time_of_day(options["at"]), None
        schedule.start_after(timezone.now())
    if options["every"] is not None:
        if not re.fullmatch(r"\d{1,6}", options["every"], re.ASCII):
            raise WrongArgument("--every must be a number of minutes from 1 to 1440.")
        schedule.every_minutes = int(options["every"])
        schedule.at = None if options["at"] is None else schedule.at
    for name, models, key in (
        ("channel", Channel.objects, "code"),
        ("group", ChannelDatabaseGroup.objects, "name"),
    ):
        if options[name] is not None:
            row = models.filter(**{key: options[name]}).first()
            if row is None:
                raise WrongArgument(f"There is no {name} {options[name]!r}.")
            schedule.channel = schedule.group = None
            setattr(schedule, name, row)
    if options["channel"] is not None and options["group"] is not None:
        raise WrongArgument("Choose a channel or a group, not both.")
    if options["on"] or options["off"]:
        schedule.is_enabled = options["on"]


def parse_time_of_day(text: str) -> time:
    if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", text, re.ASCII):
        raise WrongArgument("--at must be a time such as 22:30.")
    return time.fromisoformat(text)


def save_schedule(schedule: Schedule) -> None:
    try:
        schedule.full_clean()
    except ValidationError as error:
        raise WrongArgument(" ".join(error.messages)) from None
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
