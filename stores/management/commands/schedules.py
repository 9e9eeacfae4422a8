"""List, add, change, pause, resume, remove and restore schedules.

A schedule starts a job by itself: at a time of day, every so many minutes, continuously, or by a
cron expression. It is for all channels, or for some channels and groups of channel databases.
"""

from argparse import ArgumentTypeError, _ActionsContainer
from collections.abc import Mapping
from datetime import datetime, time
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import transaction
from django.utils import timezone

from stores.cron import DAYS
from stores.management import arguments
from stores.management.base import SynclineCommand, add_action, add_actions
from stores.messages.labels import counted
from stores.models import ChannelDatabaseGroup, Schedule
from stores.models.job import JobCode
from stores.models.schedule import MAX_RETRIES, MINUTES_A_DAY, restore_scheduler
from stores.web.forms.schedule import AT, CONTINUOUS, CRON, EVERY, ScheduleForm

# The options that give the values of the form's fields.
OPTIONS = {
    "job": "JOB",
    "at": "--at",
    "every_minutes": "--every",
    "cron": "--cron",
    "days": "--days",
    "time_zone": "--zone",
    "first_day": "--from",
    "last_day": "--until",
    "channels": "--channel",
    "groups": "--group",
    "catches_up": "--if-missed",
    "retries": "--retries",
    # The other ways to say when need a value, which has an option of its own.
    "rhythm": "--continuous",
}


class Command(SynclineCommand):
    help = (
        "Lists, adds, changes, pauses, resumes or removes schedules: what starts on its own. "
        "Restores those of a new installation. "
        "Exit status: 0 done, 1 paused already or not paused, 2 wrong arguments."
    )
    example = "schedules add eod --at 22:30 --zone America/Chicago --channel houston"

    def add_arguments(self, parser: CommandParser) -> None:
        actions = add_actions(parser)
        # The help of an action is the docstring of its method.
        add_action(actions, "list", self.list_schedules)
        show_parser = add_action(actions, "show", self.show_schedule)
        arguments.add_id(show_parser, "schedule")

        add_parser = add_action(actions, "add", self.add_schedule)
        add_parser.add_argument(
            "job",
            choices=JobCode.values,
            metavar="JOB",
            help=f"The job: {', '.join(JobCode.values)}.",
        )
        add_times(add_parser, required=True)
        add_settings(add_parser)
        add_switch(add_parser, "--off", is_enabled=False, help_text="Adds it switched off.")

        change_parser = add_action(actions, "change", self.change_schedule)
        arguments.add_id(change_parser, "schedule")
        add_times(change_parser, required=False)
        add_settings(change_parser)
        change_parser.add_argument(
            "--all-channels", action="store_true", help="For all channels again."
        )
        switch = change_parser.add_mutually_exclusive_group()
        add_switch(switch, "--on", is_enabled=True, help_text="Switches it on.")
        add_switch(switch, "--off", is_enabled=False, help_text="Switches it off.")

        pause_parser = add_action(actions, "pause", self.pause_schedule)
        arguments.add_id(pause_parser, "schedule")
        arguments.add_reason(pause_parser)
        arguments.add_user(pause_parser, required=False)
        resume_parser = add_action(actions, "resume", self.resume_schedule)
        arguments.add_id(resume_parser, "schedule")
        remove_parser = add_action(actions, "remove", self.remove_schedule)
        arguments.add_id(remove_parser, "schedule")
        add_action(actions, "restore", self.restore_schedules)

    def list_schedules(self, options: dict[str, Any]) -> None:
        """Lists the schedules."""
        rows = [schedule_as_dict(schedule) for schedule in Schedule.objects.with_details()]
        lines = [schedule_line(row) for row in rows]
        total = f"{counted(len(rows), 'schedule')}."
        self.print_json_or_text({"schedules": rows}, *lines, total)

    def show_schedule(self, options: dict[str, Any]) -> None:
        """Shows all of a schedule, with its next five starts."""
        row = schedule_as_dict(get_schedule(options["id"]))
        lines = [
            f"{name:<16} {'-' if value is None else value}"
            for name, value in row.items()
            if name != "next_starts"
        ]
        starts = [f"{start:%a %Y-%m-%d %H:%M %Z}" for start in row["next_starts"]]
        self.print_json_or_text(row, *lines, f"{'next_starts':<16} {', '.join(starts) or '-'}")

    def add_schedule(self, options: dict[str, Any]) -> None:
        """Adds a schedule."""
        self.save(Schedule(job=options["job"]), options, "added")

    def change_schedule(self, options: dict[str, Any]) -> None:
        """Changes a schedule; what is not given stays."""
        self.save(get_schedule(options["id"]), options, "changed")

    def save(self, schedule: Schedule, options: dict[str, Any], done: str) -> None:
        saved = save_schedule(schedule, options)
        self.print_json_or_text(schedule_as_dict(saved), f"{saved}: {done}.")

    def pause_schedule(self, options: dict[str, Any]) -> None:
        """Lets a schedule start nothing until resume."""
        schedule, user = get_schedule(options["id"]), options["user"]
        by = arguments.get_user(user) if user else None
        if not schedule.pause(timezone.now(), options["reason"], by=by):
            raise CommandError("The schedule is paused already.")
        self.report(schedule, "paused")

    def resume_schedule(self, options: dict[str, Any]) -> None:
        """Ends the pause of a schedule; starts of that time are not made up for."""
        schedule = get_schedule(options["id"])
        if not schedule.resume(timezone.now()):
            raise CommandError("The schedule is not paused.")
        self.report(schedule, "resumed")

    def report(self, schedule: Schedule, done: str) -> None:
        row = schedule_as_dict(get_schedule(schedule.pk))
        self.print_json_or_text(row, f"{schedule}: {done}.")

    def remove_schedule(self, options: dict[str, Any]) -> None:
        """Removes a schedule."""
        schedule = get_schedule(options["id"])
        removed = schedule_as_dict(schedule)
        schedule.delete()
        self.print_json_or_text(removed, f"{schedule}: removed.")

    def restore_schedules(self, options: dict[str, Any]) -> None:
        """Adds what a new installation has and is missing; what is there stays as it is."""
        schedules, scheduler_jobs = restore_scheduler(timezone.now())
        lines = [f"{schedule}: restored." for schedule in schedules]
        lines += [f"Scheduler job {job}: restored." for job in scheduler_jobs]
        self.print_json_or_text(
            {
                "schedules": [schedule_as_dict(schedule) for schedule in schedules],
                "scheduler_jobs": [job.pk for job in scheduler_jobs],
            },
            *(lines or ["Nothing is missing."]),
        )


def add_times(parser: CommandParser, *, required: bool) -> None:
    times = parser.add_mutually_exclusive_group(required=required)
    times.add_argument(
        "--at", type=parse_time, metavar="HH:MM", help="Starts at this time of the day."
    )
    times.add_argument(
        "--every",
        type=arguments.whole_number(1, MINUTES_A_DAY),
        metavar="MINUTES",
        help="Starts again so many minutes after the last start.",
    )
    times.add_argument(
        "--continuous",
        action="store_true",
        help="Starts again moments after the last run ended.",
    )
    times.add_argument(
        "--cron", metavar="EXPRESSION", help='Starts by a cron expression: "0 22 * * mon-fri".'
    )
    parser.add_argument(
        "--days",
        nargs="+",
        choices=DAYS,
        metavar="DAY",
        help=f"With --at: only on these days ({', '.join(DAYS)}).",
    )
    parser.add_argument("--zone", metavar="NAME", help="The time zone, such as America/Chicago.")
    for option, words in (("--from", "The first day"), ("--until", "The last day")):
        parser.add_argument(
            option, metavar="YYYY-MM-DD", help=f"{words} on which it starts; - for none."
        )


def add_settings(parser: CommandParser) -> None:
    arguments.add_codes(parser, "--channel", "Only for these channels.")
    parser.add_argument(
        "--group",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME",
        help="Only for the channels of these groups.",
    )
    parser.add_argument(
        "--if-missed", choices=("start", "skip"), help="What becomes of a start that was missed."
    )
    parser.add_argument(
        "--retries",
        type=arguments.whole_number(0, MAX_RETRIES),
        metavar="N",
        help="How often a run is tried again that failed or was done in part.",
    )
    arguments.add_user(parser, required=False)


def add_switch(parser: _ActionsContainer, option: str, *, is_enabled: bool, help_text: str) -> None:
    """Add an option that sets `is_enabled`; without it, `is_enabled` is None."""
    parser.add_argument(
        option, dest="is_enabled", action="store_const", const=is_enabled, help=help_text
    )


def parse_time(text: str) -> time:
    try:
        return datetime.strptime(text, "%H:%M").time()  # noqa: DTZ007 - a time has no zone
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a time of day such as 22:30") from None


def get_schedule(pk: int) -> Schedule:
    """Return the schedule with this id. Errors: CommandError with status 2 if there is none."""
    return arguments.get_row("schedule", pk, Schedule.objects.with_details())


def get_group(name: str) -> ChannelDatabaseGroup:
    """Return the group with this name. Errors: CommandError with status 2 if there is none."""
    return arguments.get_named("group", name, ChannelDatabaseGroup.objects.filter(name=name))


def save_schedule(schedule: Schedule, options: dict[str, Any]) -> Schedule:
    """Fill in the form of the pages with what the options give, leave the rest, and save.

    Errors: CommandError with status 2 if the values do not go together.
    """
    user = arguments.get_user(options["user"]) if options["user"] else None
    unbound = ScheduleForm(instance=schedule)
    values = {name: unbound[name].value() for name in unbound.fields}
    form = ScheduleForm(values | {"job": schedule.job} | given(options), instance=schedule)
    with transaction.atomic():
        arguments.raise_form_errors([form], OPTIONS)
        saved = form.save_as(user)
    return get_schedule(saved.pk)


def given(options: dict[str, Any]) -> dict[str, Any]:
    """The options that were given, as values of the form's fields."""
    is_limited = options["channel"] or options["group"]
    values = {
        "at": options["at"],
        "days": options["days"],
        "every_minutes": options["every"],
        "cron": options["cron"],
        "time_zone": options["zone"],
        "first_day": options["from"],
        "last_day": options["until"],
        "catches_up": {"start": "true", "skip": "false"}.get(options["if_missed"]),
        "retries": options["retries"],
        "is_enabled": options["is_enabled"],
    }
    values = {name: value for name, value in values.items() if value is not None}
    for name in ("first_day", "last_day"):
        if values.get(name) == "-":
            values[name] = ""
    if is_limited or options.get("all_channels"):
        values["channels"] = [arguments.get_channel(code).pk for code in options["channel"]]
        values["groups"] = [get_group(name).pk for name in options["group"]]
    if (rhythm := chosen_rhythm(options)) is not None:
        values["rhythm"] = rhythm
    if rhythm == AT:
        # Another time is for every day, unless it says so.
        values.setdefault("days", [])
    return values


def chosen_rhythm(options: dict[str, Any]) -> str | None:
    if options["continuous"]:
        return CONTINUOUS
    chosen = {AT: options["at"], EVERY: options["every"], CRON: options["cron"]}
    return next((rhythm for rhythm, value in chosen.items() if value is not None), None)


def schedule_as_dict(schedule: Schedule) -> dict[str, Any]:
    """The schedule as JSON output shows it."""
    run = schedule.last_run
    return {
        "id": schedule.pk,
        "job": schedule.job,
        "rhythm": schedule.rhythm,
        "channels": schedule.about,
        "is_enabled": schedule.is_enabled,
        "next_start": schedule.next_start_at,
        "state": schedule.state,
        "is_late": schedule.is_late(timezone.now()),
        "cron": schedule.cron or None,
        "every_minutes": schedule.every_minutes,
        "is_continuous": schedule.is_continuous,
        "time_zone": schedule.time_zone,
        "first_day": schedule.first_day,
        "last_day": schedule.last_day,
        "if_missed": "start" if schedule.catches_up else "skip",
        "retries": schedule.retries,
        "retries_made": schedule.retries_made,
        "paused_at": schedule.paused_at,
        "paused_by": schedule.paused_by.get_username() if schedule.paused_by else None,
        "pause_reason": schedule.pause_reason or None,
        "changed_at": schedule.changed_at,
        "changed_by": schedule.changed_by.get_username() if schedule.changed_by else None,
        "last_start": schedule.started_at,
        "last_skipped": schedule.skipped_at,
        "last_run": str(run.pk) if run else None,
        "last_outcome": run.status if run else None,
        "next_starts": schedule.next_starts,
    }


def schedule_line(row: Mapping[str, Any]) -> str:
    """The line of a list for a row of schedule_as_dict()."""
    state = "late" if row["is_late"] else row["state"]
    start = f"{row['next_start']:%Y-%m-%d %H:%M}" if row["next_start"] else "-"
    return (
        f"{row['id']:<6} {row['job']:<12} {row['rhythm']:<40} {state:<7} {start:<17} "
        f"{row['channels']}"
    )
