"""Channels and their databases. Only stores.channeldb opens the databases."""

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from functools import cache
from typing import Any, Self
from urllib.parse import unquote, urlsplit
from zoneinfo import available_timezones

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import DataError, connection, models, transaction
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.functions import Greatest, Now
from django.urls import reverse
from django.utils import timezone

from stores.messages.field import MessageField
from stores.messages.message import Message
from stores.models.job import JobCode
from stores.models.parameter import ParameterName, parameter
from stores.models.profile import FunctionalityProfile
from stores.models.scheduler_job import ExcludedDatabase
from stores.values.country import is_country


class ChannelDatabaseGroup(models.Model):
    """A named set of channel databases, for schedules. Each database is in one group."""

    name = models.CharField(max_length=60, unique=True)
    filter_shared_customer_data = models.BooleanField(
        "filter shared customer data tables",
        default=False,
        db_default=False,
        help_text=(
            "On: registers of this group are sent no customers, and create none while they are"
            " offline."
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


def proper_time_zone(name: str) -> str:
    """A time zone's name as the IANA list spells it, whatever the case; an unknown one as it is."""
    if name in time_zones():
        return name
    return next((zone for zone in time_zones() if zone.lower() == name.lower()), name)


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

    It is added on a page or with create_channel, and never deleted: what it sent refers to it. When
    it has closed for good it is archived, which also switches it off.
    """

    # With the prefix "DEFAULT-" it fits into an account number.
    code = models.CharField(
        max_length=12,
        unique=True,
        validators=[
            RegexValidator(r"^[A-Za-z0-9][A-Za-z0-9_-]*$", "Letters, digits, - and _ only."),
            # The address of the page that adds a channel stands in its place.
            RegexValidator(r"^add$", "A channel cannot have the code add.", inverse_match=True),
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
    # Since when it is archived, by whom (None: with a command), and why.
    archived_at = models.DateTimeField(null=True, editable=False)
    archived_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, editable=False, related_name="+"
    )
    archive_reason = models.CharField(max_length=300, blank=True, db_default="", editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "channel"
        ordering = ["code"]
        permissions = [("use_till", "Can use the till of a channel")]
        constraints = [
            models.CheckConstraint(
                condition=Q(statement_mode__in=StatementMode.values),
                name="statement_mode_is_known",
            ),
            models.CheckConstraint(
                condition=Q(archived_at__isnull=True, archived_by__isnull=True, archive_reason="")
                | (Q(archived_at__isnull=False, is_enabled=False) & ~Q(archive_reason="")),
                name="an_archived_channel_is_off_for_a_reason",
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

    @property
    def is_archived(self) -> bool:
        return self.archived_at is not None

    def clean(self) -> None:
        """Refuse an unknown country, and another statement mode while a statement is open.

        An archived channel is brought back on its page, not by switching it on.
        """
        if self.is_archived and self.is_enabled:
            raise ValidationError({"is_enabled": "The channel is archived. Bring it back first."})
        if self.country and not is_country(self.country):
            raise ValidationError({"country": "Not a country of ISO 3166-1 (three letters)."})
        changed = Channel.objects.filter(pk=self.pk).exclude(statement_mode=self.statement_mode)
        if changed.filter(~Q(statements__state="posted"), statements__isnull=False).exists():
            raise ValidationError({"statement_mode": "Post its open statements first."})


class Direction(models.TextChoices):
    """What HQ does in a channel database, as a person can pause it."""

    UPLOAD = "upload", "Uploads from"
    DOWNLOAD = "download", "Downloads to"


@dataclass(frozen=True)
class Pause:
    """Since when a direction of a channel database is paused, by whom and why; or that it is not.

    By None: with a command.
    """

    direction: Direction
    since: datetime | None
    by: Any
    reason: str

    @property
    def words(self) -> str:
        return f"{self.direction.capitalize()}s paused"


def max_back_off() -> timedelta:
    """How long schedules leave a database alone after errors, at most, and a second for clocks."""
    return timedelta(seconds=parameter(ParameterName.BACK_OFF_MOST) + 1)


class ChannelDatabaseQuerySet(models.QuerySet["ChannelDatabase"]):
    def enabled(self) -> Self:
        """Databases that jobs visit: they are enabled, and so is their channel."""
        return self.filter(is_enabled=True, channel__is_enabled=True)

    def recipients_of(self, job: JobCode) -> Self:
        """Databases to which a job sends something: all but excluded registers."""
        excluded = ExcludedDatabase.objects.filter(database=OuterRef("pk"), job=job)
        return self.filter(~Exists(excluded))

    def not_backing_off(self) -> Self:
        """Databases without errors, and those whose next try is due.

        A next try that is later than that can be was set before the clock was set back.
        """
        too_far = Now() + max_back_off()
        return self.filter(
            Q(next_try_at=None) | Q(next_try_at__lte=Now()) | Q(next_try_at__gt=too_far)
        )

    def slow(self) -> Self:
        """Databases whose last visit took long; they get runs of their own."""
        return self.filter(last_duration_s__gt=parameter(ParameterName.SLOW_VISIT))

    def quick(self) -> Self:
        """Databases whose last visit did not take long, or that were never visited."""
        limit = parameter(ParameterName.SLOW_VISIT)
        return self.filter(Q(last_duration_s=None) | Q(last_duration_s__lte=limit))

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

    It is added on a page or with create_channel. `url` and `secret` are read anew whenever the
    database is opened. `url` is embedded:NAME, sqlite:///PATH below the data directory,
    postgresql://…, or a reference to one of these two: env:CHANNEL_DSN_X or file:NAME.

    Epoch and nonce say which visit was the last: the database holds the confirmed pair, or the
    intended one if a visit died between its steps. Anything else is an incident.
    """

    channel = models.ForeignKey(Channel, models.PROTECT, related_name="databases")
    name = models.CharField(
        max_length=40, blank=True, help_text=("Register; empty for the channel's own database.")
    )
    group = models.ForeignKey(ChannelDatabaseGroup, models.PROTECT, related_name="databases")
    url = models.CharField(max_length=500)
    # The password of a postgresql:// address: encrypted as fernet:TOKEN, or a reference to it as
    # env:CHANNEL_DSN_X or file:NAME. It is never shown.
    secret = models.CharField(max_length=500, blank=True, db_default="", editable=False)
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
    # For each direction that a person has paused: since when, by whom (None: with a command), and
    # why.
    uploads_paused_at = models.DateTimeField(null=True, editable=False)
    uploads_paused_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, editable=False, related_name="+"
    )
    uploads_pause_reason = models.CharField(
        max_length=300, blank=True, db_default="", editable=False
    )
    downloads_paused_at = models.DateTimeField(null=True, editable=False)
    downloads_paused_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, editable=False, related_name="+"
    )
    downloads_pause_reason = models.CharField(
        max_length=300, blank=True, db_default="", editable=False
    )
    # When the last pause of each direction ended.
    uploads_resumed_at = models.DateTimeField(null=True, editable=False)
    downloads_resumed_at = models.DateTimeField(null=True, editable=False)
    # The start of HQ's server since which the database was last recognised, and since which a visit
    # last failed. They are compared for equality only, so clocks do not matter.
    recognised_start = models.DateTimeField(null=True, editable=False)
    failed_start = models.DateTimeField(null=True, editable=False)
    is_enabled = models.BooleanField(default=True)
    added_at = models.DateTimeField(db_default=Now(), editable=False)
    # When it or its channel was last switched on again, and when 1010 last included it again.
    switched_on_at = models.DateTimeField(null=True, editable=False)
    included_at = models.DateTimeField(null=True, editable=False)
    last_visited_at = models.DateTimeField(null=True, editable=False)
    last_error = MessageField()
    last_duration_s = models.FloatField(null=True, editable=False)
    # Failed visits in a row. Schedules leave the database alone until the next try.
    failures = models.PositiveIntegerField(db_default=0, editable=False)
    # When the first of these failures was.
    failing_since = models.DateTimeField(null=True, editable=False)
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
                condition=Q(failing_since__isnull=True) | Q(failures__gt=0),
                name="only_a_database_that_fails_has_failed_since",
            ),
            models.CheckConstraint(
                condition=Q(secret="") | Q(url__startswith="postgres"),
                name="only_a_server_s_address_has_a_secret",
            ),
            models.CheckConstraint(
                condition=Q(
                    uploads_paused_at__isnull=True,
                    uploads_paused_by__isnull=True,
                    uploads_pause_reason="",
                )
                | (Q(uploads_paused_at__isnull=False) & ~Q(uploads_pause_reason="")),
                name="uploads_are_paused_for_a_reason",
            ),
            models.CheckConstraint(
                condition=Q(
                    downloads_paused_at__isnull=True,
                    downloads_paused_by__isnull=True,
                    downloads_pause_reason="",
                )
                | (Q(downloads_paused_at__isnull=False) & ~Q(downloads_pause_reason="")),
                name="downloads_are_paused_for_a_reason",
            ),
        ]

    def __str__(self) -> str:
        return self.label

    @property
    def address(self) -> str:
        """Its URL, to be shown: without the password that an older one may hold."""
        return split_password(self.url)[0]

    @property
    def is_visited(self) -> bool:
        """Whether jobs visit it: it is switched on, and so is its channel."""
        return self.is_enabled and self.channel.is_enabled

    def is_sent(self, job: JobCode) -> bool:
        """Whether a job sends something to it: it is no excluded register."""
        return not self.exclusions.filter(job=job).exists()

    @property
    def pauses(self) -> list[Pause]:
        """Both directions, with who paused them."""
        uploads = (self.uploads_paused_at, self.uploads_paused_by, self.uploads_pause_reason)
        downloads = (
            self.downloads_paused_at,
            self.downloads_paused_by,
            self.downloads_pause_reason,
        )
        return [Pause(Direction.UPLOAD, *uploads), Pause(Direction.DOWNLOAD, *downloads)]

    @property
    def uploads_paused(self) -> bool:
        """Whether an administrator has paused what HQ fetches from it."""
        return self.uploads_paused_at is not None

    @property
    def downloads_paused(self) -> bool:
        """Whether an administrator has paused what HQ sends to it."""
        return self.downloads_paused_at is not None

    def forget_errors(self, codes: Collection[str]) -> None:
        """Forget that visits failed, if the last one did with one of these messages."""
        failed = ChannelDatabase.objects.filter(pk=self.pk, last_error__0__code__in=codes)
        failed.update(
            last_error=Message(), failures=0, failing_since=None, failed_step="", next_try_at=None
        )

    @property
    def is_backing_off(self) -> bool:
        """Whether schedules leave it alone now, after errors."""
        now = timezone.now()
        return self.next_try_at is not None and now < self.next_try_at <= now + max_back_off()

    @property
    def label(self) -> str:
        """The code of the channel, with the name of the register if it has one."""
        return database_label(self.channel.code, self.name)


def database_label(code: str, register: str) -> str:
    """The code of a channel, with the name of the register if there is one."""
    return f"{code}/{register}" if register else code


def split_password(url: str) -> tuple[str, str]:
    """Split the URL of a database into the same without its password, and the password.

    Of what is no valid URL, only the scheme is left: who knows where in it a password is.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return f"{url.partition(':')[0]}:…", ""
    user, _, host = parts.netloc.rpartition("@")
    name, has_password, password = user.partition(":")
    if not has_password:
        return url, ""
    return url.replace(parts.netloc, f"{name}@{host}", 1), unquote(password)
