"""Channels and their databases. Only stores.channeldb opens the databases."""

import uuid
from datetime import time, timedelta
from functools import cache
from typing import Self
from zoneinfo import available_timezones

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import DataError, connection, models, transaction
from django.db.models import F, Q
from django.db.models.functions import Greatest, Now
from django.urls import reverse
from django.utils import timezone

from stores.messages.field import MessageField
from stores.models.country import is_country
from stores.models.profile import FunctionalityProfile


class ChannelDatabaseGroup(models.Model):
    """A named set of channel databases, for schedules. Each database is in one group."""

    name = models.CharField(max_length=60, unique=True)
    filter_shared_customer_data = models.BooleanField(
        "filter shared customer data tables",
        default=False,
        db_default=False,
        help_text=(
            "On: registers of this group create no customers while they are offline. Exclude the"
            " jobs that send customers, such as 1010, from offline databases too."
        ),
    )

    class Meta:
        db_table = "channel_database_group"
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class ChannelKind(models.TextChoices):
    STORE = "store"
    ONLINE = "online", "Online"
    CALL_CENTER = "call_center", "Call center"


@cache
def time_zones() -> set[str]:
    """The names of the IANA list. They are cached, because reading them opens hundreds of files."""
    return available_timezones()


def check_time_zone(value: str) -> None:
    """Refuse a name that is not in the IANA list, or that HQ's database does not know."""
    if value not in time_zones():
        raise ValidationError("Not a time zone of the IANA list, for example Europe/Amsterdam.")
    if not database_knows_zone(value):
        raise ValidationError(
            "Headquarters' database does not know this time zone. Choose another one with the same "
            "clock, for example Europe/Amsterdam."
        )


def database_knows_zone(name: str) -> bool:
    """Whether HQ's database knows a time zone. Its list may be older than Python's."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT now() AT TIME ZONE %s", [name])
    except DataError:
        return False
    return True


class StatementMode(models.TextChoices):
    """When the sales of a channel enter a statement. It cannot change while one is open."""

    END_OF_DAY = "end_of_day", "After the business date has ended"
    TRICKLE_FEED = "trickle_feed", "All day long"


class Channel(models.Model):
    """A store, a web shop or a call center that creates customers of one company.

    The command create_channel adds it. It is never deleted, only switched off.
    """

    # With the prefix "DEFAULT-" it fits into an account number.
    code = models.CharField(
        max_length=12,
        unique=True,
        validators=[
            RegexValidator(r"^[A-Za-z0-9][A-Za-z0-9_-]*$", "Letters, digits, - and _ only.")
        ],
    )
    name = models.CharField(max_length=100)
    kind = models.CharField(max_length=12, choices=ChannelKind.choices, default=ChannelKind.STORE)
    company = models.ForeignKey("Company", models.PROTECT, related_name="channels")
    default_customer = models.ForeignKey(
        "Customer",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
        help_text="New customers inherit group, currency, language and affiliations from it.",
    )
    country = models.CharField(
        max_length=3,
        blank=True,
        help_text="Three letters (NLD); used for addresses without a country.",
    )
    profile = models.ForeignKey(
        FunctionalityProfile,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="channels",
        verbose_name="functionality profile",
        help_text="How tills create customers and orders. Empty: everything asynchronously.",
    )
    time_zone = models.CharField(
        max_length=40,
        default="UTC",
        validators=[check_time_zone],
        help_text="The store's time zone, for example Europe/Amsterdam.",
    )
    day_ends_at = models.TimeField(
        default=time(0),
        help_text="Sales before this hour belong to the business date of the day before.",
    )
    statement_mode = models.CharField(
        max_length=12,
        choices=StatementMode.choices,
        default=StatementMode.TRICKLE_FEED,
        help_text="Cannot be changed while a statement of the channel is open.",
    )
    hold_code = models.CharField(
        max_length=20,
        default="SYNC-ERROR",
        help_text="Corrected orders are put on hold with this code until someone releases them.",
    )
    is_enabled = models.BooleanField(default=True, help_text="If off, jobs skip the channel.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "channel"
        ordering = ["code"]
        constraints = [
            models.CheckConstraint(
                condition=Q(statement_mode__in=StatementMode.values),
                name="statement_mode_is_known",
            ),
        ]

    def __str__(self) -> str:
        return self.code

    def get_absolute_url(self) -> str:
        return reverse("channel", args=[self.code])

    @property
    def own_database(self) -> "ChannelDatabase | None":
        """The database that all registers share, which has no name."""
        return self.databases.select_related("channel__company").order_by("name").first()

    def clean(self) -> None:
        """Refuse an unknown country, and another statement mode while a statement is open."""
        if self.country and not is_country(self.country):
            raise ValidationError({"country": "Not a country of ISO 3166-1 (three letters)."})
        changed = Channel.objects.filter(pk=self.pk).exclude(statement_mode=self.statement_mode)
        if changed.filter(~Q(statements__state="posted"), statements__isnull=False).exists():
            raise ValidationError({"statement_mode": "Post its open statements first."})


def max_pause() -> timedelta:
    """The longest pause of a database after errors, plus a second for the difference of clocks."""
    return timedelta(seconds=settings.BACK_OFF_MOST_S + 1)


class ChannelDatabaseQuerySet(models.QuerySet["ChannelDatabase"]):
    def enabled(self) -> Self:
        """Databases that jobs visit: they are enabled, and so is their channel."""
        return self.filter(is_enabled=True, channel__is_enabled=True)

    def not_paused(self) -> Self:
        """Databases without errors, and those whose next try is due.

        A next try that is later than the longest pause was set before the clock was set back.
        """
        too_far = Now() + max_pause()
        return self.filter(
            Q(next_try_at=None) | Q(next_try_at__lte=Now()) | Q(next_try_at__gt=too_far)
        )

    def slow(self) -> Self:
        """Databases whose last visit took long; they get runs of their own."""
        return self.filter(last_duration_s__gt=settings.SLOW_VISIT_S)

    def quick(self) -> Self:
        """Databases whose last visit did not take long, or that were never visited."""
        return self.filter(Q(last_duration_s=None) | Q(last_duration_s__lte=settings.SLOW_VISIT_S))

    def lacking_change(self, change_no: int) -> Self:
        """Databases that did not receive all changes up to this one."""
        return self.filter(position__lt=change_no, received_no__lt=change_no)

    def with_channel(self) -> Self:
        """Select channel and group too, by channel, with the channel's own database first."""
        return self.select_related("channel", "group").order_by("channel__code", "name")


# Up to which change a database received everybody, apart from open exceptions.
RECEIVED_UP_TO = Greatest("position", "received_no")


class ChannelDatabase(models.Model):
    """One physical database: the channel's own, or that of an offline register.

    The command create_channel adds it. `url` is resolved when the database is opened:
    embedded:NAME, sqlite:///PATH below the data directory, env:CHANNEL_DSN_X, or postgresql://….

    Epoch and nonce say which visit was the last: the database holds the confirmed pair, or the
    intended one if a visit died between its steps. Anything else is an incident.
    """

    channel = models.ForeignKey(Channel, models.PROTECT, related_name="databases")
    name = models.CharField(
        max_length=40, blank=True, help_text=("Register; empty for the channel's own database.")
    )
    group = models.ForeignKey(ChannelDatabaseGroup, models.PROTECT, related_name="databases")
    url = models.CharField(max_length=500)
    database_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    # Raised when a database that was restored from a backup is accepted. Events with counters that
    # its tills then use again sort after the old ones.
    generation = models.PositiveIntegerField(default=1, editable=False)
    # The highest counter that HQ has staged of this generation, by event table.
    staged = models.JSONField(default=dict, db_default={}, editable=False)
    confirmed_epoch = models.BigIntegerField(db_default=0, editable=False)
    # None until the first contact.
    confirmed_nonce = models.UUIDField(null=True, editable=False)
    intended_epoch = models.BigIntegerField(null=True, editable=False)
    intended_nonce = models.UUIDField(null=True, editable=False)
    fenced_at = models.DateTimeField(null=True, editable=False)
    # Up to which change of its company's customers the database has everything. A copy: the
    # database says so itself.
    position = models.BigIntegerField(default=0, db_default=0, editable=False)
    # Up to which change it received everybody, apart from open exceptions. It is ahead of the
    # position while a refused customer holds up a package, and during a full download.
    received_no = models.BigIntegerField(default=0, db_default=0, editable=False)
    # A full download begins: the position in the database is ignored until a package is written.
    starts_over = models.BooleanField(default=False, db_default=False, editable=False)
    # Who last asked for a full download. None: nobody, or somebody with a command.
    started_over_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, editable=False, related_name="+"
    )
    strict_order = models.BooleanField(
        default=False,
        db_default=False,
        help_text="A package that the database refuses in part holds up all later ones.",
    )
    # The hold on its downloads: since when, by whom (None: with a command), and why.
    held_since = models.DateTimeField(null=True, editable=False)
    held_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, editable=False, related_name="+"
    )
    hold_reason = models.CharField(max_length=300, blank=True, db_default="", editable=False)
    # When the last hold ended.
    resumed_at = models.DateTimeField(null=True, editable=False)
    # The start of HQ's server since which the database was last recognised, and since which a visit
    # last failed. They are compared for equality only, so clocks do not matter.
    recognised_start = models.DateTimeField(null=True, editable=False)
    failed_start = models.DateTimeField(null=True, editable=False)
    is_enabled = models.BooleanField(default=True)
    last_visited_at = models.DateTimeField(null=True, editable=False)
    last_error = MessageField()
    last_duration_s = models.FloatField(null=True, editable=False)
    # Failed visits in a row. Schedules leave the database alone until the next try.
    failures = models.PositiveIntegerField(db_default=0, editable=False)
    # The step that failed. Only its own success resets the failures, not that of another step.
    failed_step = models.CharField(max_length=12, blank=True, db_default="", editable=False)
    next_try_at = models.DateTimeField(null=True, editable=False)

    objects = ChannelDatabaseQuerySet.as_manager()

    class Meta:
        db_table = "channel_database"
        ordering = ["channel__code", "name"]
        constraints = [
            models.UniqueConstraint(fields=["channel", "name"], name="one_database_per_register"),
            models.UniqueConstraint(fields=["url"], name="a_database_belongs_to_one_channel"),
            models.CheckConstraint(
                condition=Q(intended_epoch__isnull=True, intended_nonce__isnull=True)
                | Q(intended_epoch__gt=F("confirmed_epoch"), intended_nonce__isnull=False),
                name="an_intention_is_ahead_of_what_is_confirmed",
            ),
            models.CheckConstraint(
                condition=Q(held_since__isnull=True, held_by__isnull=True, hold_reason="")
                | (Q(held_since__isnull=False) & ~Q(hold_reason="")),
                name="downloads_are_held_for_a_reason",
            ),
        ]

    def __str__(self) -> str:
        return self.label

    @property
    def is_held(self) -> bool:
        """Whether an administrator has put its downloads on hold."""
        return self.held_since is not None

    @property
    def is_paused(self) -> bool:
        """Whether schedules leave it alone now, after errors."""
        now = timezone.now()
        return self.next_try_at is not None and now < self.next_try_at <= now + max_pause()

    @property
    def label(self) -> str:
        """The code of the channel, with the name of the register if it has one."""
        return database_label(self.channel.code, self.name)


def database_label(code: str, register: str) -> str:
    """The code of a channel, with the name of the register if there is one."""
    return f"{code}/{register}" if register else code
