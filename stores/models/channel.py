"""Channels and the databases they keep: described here, opened by stores.channeldb alone."""

import uuid
from typing import Self

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.urls import reverse

from stores.models.country import COUNTRIES


class ChannelDatabaseGroup(models.Model):
    """Databases that receive the same packages; a database is in exactly one group."""

    name = models.CharField(max_length=60, unique=True)

    class Meta:
        db_table = "channel_database_group"
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class ChannelKind(models.TextChoices):
    STORE = "store"
    ONLINE = "online", "Online"
    CALL_CENTER = "call_center", "Call center"


class Channel(models.Model):
    """A store, a web shop or a call center that creates customers of one company."""

    # Together with "DEFAULT-" it fits into an account number.
    code = models.CharField(
        max_length=12,
        unique=True,
        validators=[
            RegexValidator(r"^[A-Za-z0-9][A-Za-z0-9_-]*$", "Takes letters, digits, - and _.")
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
        help_text="Three letters (NLD); the country of an address that names none.",
    )
    profile = models.CharField(max_length=60, blank=True, help_text="Functionality profile.")
    is_enabled = models.BooleanField(default=True, help_text="Off: no job visits the channel.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "channel"
        ordering = ["code"]
        constraints = [
            models.UniqueConstraint(fields=["id", "company"], name="channel_carries_its_company"),
        ]

    def __str__(self) -> str:
        return self.code

    def get_absolute_url(self) -> str:
        return reverse("channel", args=[self.code])

    def clean(self) -> None:
        if self.country and self.country not in COUNTRIES:
            raise ValidationError({"country": "Not a country of ISO 3166-1 (three letters)."})


class ChannelDatabaseQuerySet(models.QuerySet["ChannelDatabase"]):
    def enabled(self) -> Self:
        """Databases that jobs visit: both they and their channel are switched on."""
        return self.filter(is_enabled=True, channel__is_enabled=True)

    def with_channel(self) -> Self:
        """Bring channel and group, in channel order; the channel's own database first."""
        return self.select_related("channel", "group").order_by("channel__code", "name")


class ChannelDatabase(models.Model):
    """One physical database: the channel's own, or that of an offline register.

    `url` is a reference, resolved when the database is opened: embedded:NAME, sqlite:///PATH below
    the data directory, env:CHANNEL_DSN_X, or postgresql://….
    """

    channel = models.ForeignKey(Channel, models.PROTECT, related_name="databases")
    name = models.CharField(max_length=40, blank=True, help_text="Register; empty: the channel's.")
    group = models.ForeignKey(ChannelDatabaseGroup, models.PROTECT, related_name="databases")
    url = models.CharField(max_length=500)
    database_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    generation = models.PositiveIntegerField(default=1, editable=False)
    is_enabled = models.BooleanField(default=True)
    last_visited_at = models.DateTimeField(null=True, editable=False)
    last_error = models.CharField(max_length=300, blank=True, editable=False)

    objects = ChannelDatabaseQuerySet.as_manager()

    class Meta:
        db_table = "channel_database"
        ordering = ["channel__code", "name"]
        constraints = [
            models.UniqueConstraint(fields=["channel", "name"], name="one_database_per_register"),
            models.UniqueConstraint(fields=["url"], name="a_database_belongs_to_one_channel"),
        ]

    def __str__(self) -> str:
        return self.label

    @property
    def label(self) -> str:
        """The channel's code, with the register where there is one."""
        return f"{self.channel.code}/{self.name}" if self.name else self.channel.code
