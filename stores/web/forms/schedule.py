"""The form of a schedule, for the pages, the settings and the command."""

from typing import Any

from django import forms
from django.db import transaction
from django.utils import timezone

from stores import cron
from stores.jobs.catalog import JOBS
from stores.models import Channel, Schedule
from stores.models.channel import proper_time_zone, time_zones
from stores.models.job import CONTINUOUS_JOBS, JobCode
from stores.models.schedule import TIMES, lock_schedules

# The ways to say when, each with the fields that it needs.
AT, EVERY, CONTINUOUS, CRON = "at", "every", "continuous", "cron"
RHYTHMS = [
    (AT, "At a time of day"),
    (EVERY, "Every so many minutes"),
    (CONTINUOUS, "Continuously, moments after its last run ended"),
    (CRON, "By a cron expression"),
]
NEEDED = {AT: "at", EVERY: "every_minutes", CRON: "cron"}
DAY_CHOICES = [(day, name[:3]) for day, name in zip(cron.DAYS, cron.DAY_NAMES, strict=True)]
STALE = "Changed meanwhile: nothing was saved. This is the schedule as it is now."
CATCH_UP_CHOICES = [("true", "Make it late, once"), ("false", "Skip it")]


class ScheduleForm(forms.ModelForm):  # type: ignore[type-arg]
    """The settings of a schedule. It is validated and saved in one transaction, one by one."""

    rhythm = forms.ChoiceField(
        label="When it starts", choices=RHYTHMS, widget=forms.RadioSelect, initial=AT
    )
    at = forms.TimeField(
        label="Time of day",
        required=False,
        widget=forms.TimeInput({"type": "time"}, "%H:%M"),
        help_text="By the clock of the time zone.",
    )
    days = forms.MultipleChoiceField(
        label="Days",
        choices=DAY_CHOICES,
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="None: every day.",
    )
    catches_up = forms.ChoiceField(
        label="A start that was missed",
        choices=CATCH_UP_CHOICES,
        required=False,
        initial="true",
        help_text="Such as while no scheduler ran.",
    )
    # When it was last changed before the user saw it.
    version = forms.CharField(required=False, widget=forms.HiddenInput)
    is_stale = False

    class Meta:
        model = Schedule
        fields = (
            *("job", "channels", "groups", "rhythm", "at", "days", "every_minutes", "cron"),
            *("time_zone", "first_day", "last_day", "catches_up", "retries", "is_enabled"),
            "version",
        )
        widgets = {
            "channels": forms.CheckboxSelectMultiple,
            "groups": forms.CheckboxSelectMultiple,
            "cron": forms.TextInput({"autocapitalize": "none", "spellcheck": "false"}),
            "time_zone": forms.TextInput({"list": "time-zones", "spellcheck": "false"}),
            "first_day": forms.DateInput({"type": "date"}, "%Y-%m-%d"),
            "last_day": forms.DateInput({"type": "date"}, "%Y-%m-%d"),
        }

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.times_before = [getattr(self.instance, name) for name in TIMES]
        choices = [(job.code, f"{job.title} ({job.code})") for job in JOBS.values()]
        self.fields["job"].choices = choices  # type: ignore[attr-defined]
        channels, groups = self.fields["channels"], self.fields["groups"]
        channels.label_from_instance = name_with_code  # type: ignore[attr-defined]
        # The page explains both at once.
        channels.help_text = groups.help_text = ""
        self.initial["catches_up"] = str(self.instance.catches_up).lower()
        if self.instance.pk:
            # A schedule of another job is another schedule.
            self.fields["job"].disabled = True
            self.initial.update(initial_rhythm(self.instance))
            self.initial["version"] = version_of(self.instance)
        else:
            self.initial["time_zone"] = usual_time_zone()

    @property
    def zones(self) -> list[str]:
        return sorted(time_zones())

    def clean_cron(self) -> str:
        return cron.tidy(self.cleaned_data["cron"])

    def clean_time_zone(self) -> str:
        return proper_time_zone(self.cleaned_data["time_zone"])

    def clean_catches_up(self) -> bool:
        return bool(self.cleaned_data["catches_up"] != "false")

    def clean(self) -> dict[str, Any]:
        """Keep of the ways to say when only what was chosen, which must be complete."""
        values = super().clean() or self.cleaned_data
        rhythm = values.get("rhythm", "")
        needed = NEEDED.get(rhythm)
        for name in {*NEEDED.values()} - {needed}:
            # What is not shown does not matter.
            self.errors.pop(name, None)
        if needed and needed not in self.errors and values.get(needed) in (None, ""):
            self.add_error(needed, f"{self.fields[needed].label}: required.")
        if rhythm == AT and "at" not in self.errors:
            values["cron"] = cron.daily(values["at"], values.get("days", []))
        elif rhythm != CRON:
            values["cron"] = ""
        if rhythm != EVERY:
            values["every_minutes"] = None
        # What is not in the form's data would stay as it was.
        self.instance.cron, self.instance.is_continuous = values.get("cron"), rhythm == CONTINUOUS
        if rhythm == CONTINUOUS and values.get("job") not in CONTINUOUS_JOBS:
            self.add_error(
                "rhythm",
                "This job cannot start again moments after it ended: choose minutes or a time.",
            )
        is_limited = values.get("channels") or values.get("groups")
        if is_limited and values.get("job") == JobCode.VERIFY:
            self.add_error("channels", "Promises are checked in all channels: choose none.")
        return values

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]
        if self.errors:
            return
        lock_schedules()
        if self.instance.pk and self.cleaned_data["version"] != self.latest_version():
            self.is_stale = True
            self.add_error(None, STALE)
        elif self.is_there_already():
            self.add_error(None, "This schedule already exists.")

    def latest_version(self) -> str | None:
        """Its version by now; None if somebody has removed it."""
        latest = Schedule.objects.filter(pk=self.instance.pk).first()
        return version_of(latest) if latest else None

    def is_there_already(self) -> bool:
        """Whether another schedule starts the same job for the same channels at the same times."""
        same = {name: getattr(self.instance, name) for name in ("job", *TIMES[1:])}
        chosen = [set(self.cleaned_data[name]) for name in ("channels", "groups")]
        return any(
            [set(other.channels.all()), set(other.groups.all())] == chosen
            for other in Schedule.objects.filter(**same).exclude(pk=self.instance.pk)
        )

    def save_as(self, user: Any) -> Schedule:
        """Save the schedule with its channels, and plan its next start if its times changed."""
        times = [getattr(self.instance, name) for name in TIMES]
        is_new_time = self.instance.pk is None or times != self.times_before
        with transaction.atomic():
            if self.instance.pk:
                self.instance.lock()
            self.instance.save_settings(timezone.now(), by=user, is_new_time=is_new_time)
            self._save_m2m()  # type: ignore[attr-defined]
        saved: Schedule = self.instance
        return saved


def version_of(schedule: Schedule) -> str:
    """What changes whenever somebody saves it."""
    return schedule.changed_at.isoformat() if schedule.changed_at else "new"


def name_with_code(channel: Channel) -> str:
    return f"{channel.name} ({channel.code})"


def initial_rhythm(schedule: Schedule) -> dict[str, Any]:
    """The values of the fields that say when it starts."""
    if schedule.is_continuous:
        return {"rhythm": CONTINUOUS}
    if not schedule.cron:
        return {"rhythm": EVERY}
    if parts := cron.split_daily(schedule.cron):
        at, days = parts
        return {"rhythm": AT, "at": at, "days": days, "cron": ""}
    return {"rhythm": CRON}


def usual_time_zone() -> str:
    """The time zone of the channels, if they all have the same."""
    zones = set(Channel.objects.filter(is_enabled=True).values_list("time_zone", flat=True))
    return zones.pop() if len(zones) == 1 else "UTC"
