"""Staging tables: the events that channels sent, and the status of each.

The events themselves never change. Edits that people make at headquarters are events too, so that
there is only one way to write a customer.
"""

from typing import Self

from django.conf import settings
from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from stores.models.customer import AddressColumns, ContactColumns, CustomerColumns
from stores.models.reference import Reference


class StagingStatus(models.TextChoices):
    """The progress of an event in the pipeline. Pages and JSON show the states of a customer."""

    PENDING = "pending", "Pending"
    APPLIED = "applied", "Applied"
    FAILED = "failed", "Failed"
    SUPERSEDED = "superseded", "Superseded"
    ERASED = "erased", "Erased"


OPEN_STATUSES = (StagingStatus.PENDING, StagingStatus.FAILED)


class Operation(models.TextChoices):
    CREATE = "create", "Create"
    UPDATE = "update", "Update"
    DEACTIVATE = "deactivate", "Deactivate"


class Origin(models.TextChoices):
    TILL = "till", "Till"
    HQ = "hq", "Headquarters"


class EventQuerySet(models.QuerySet["Event"]):
    def open(self) -> Self:
        return self.filter(status__in=OPEN_STATUSES)

    def in_order(self) -> Self:
        return self.order_by("database_id", "generation", "replication_counter")


class Event(models.Model):
    """One operation that a till, or a person at HQ, performed on a customer.

    An event of HQ has neither a channel database nor a session, and a counter of HQ's own.
    """

    event_id = models.UUIDField(primary_key=True)
    origin = models.CharField(max_length=4, choices=Origin.choices, db_default=Origin.TILL)
    database = Reference("stores.ChannelDatabase", null=True)
    company = Reference("stores.Company")
    generation = models.IntegerField(db_default=1)
    replication_counter = models.BigIntegerField()
    occurred_at = models.DateTimeField()
    operation = models.CharField(max_length=10, choices=Operation.choices)
    async_account = models.UUIDField(null=True)
    account_number = models.CharField(max_length=20, null=True)
    staff_id = models.CharField(max_length=25, null=True)
    terminal_id = models.CharField(max_length=10, null=True)
    created_offline = models.BooleanField(null=True)

    status = models.CharField(
        max_length=10, choices=StagingStatus.choices, db_default=StagingStatus.PENDING
    )
    reason = models.CharField(max_length=40, null=True)
    field = models.CharField(max_length=40, null=True)
    # None: made at HQ, or released from quarantine; the quarantined row then has the session.
    session = Reference("stores.UploadSession", null=True)
    staged_at = models.DateTimeField(db_default=Now())
    customer = Reference("stores.Customer", null=True, related_name="%(class)s_events")
    applied_at = models.DateTimeField(null=True)
    applied_run = Reference("stores.JobRun", null=True)
    made_by = Reference(settings.AUTH_USER_MODEL, null=True)
    # Of a correction made at HQ: the id of the row it replaces, and the database that sent that
    # row. A customer that the correction creates belongs to the channel of that database.
    corrects = models.CharField(max_length=36, null=True)
    for_database = Reference("stores.ChannelDatabase", null=True)

    objects = EventQuerySet.as_manager()

    class Meta:
        abstract = True
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=StagingStatus.values), name="%(class)s_status_is_known"
            ),
            # An event that was applied, or came too late to be applied, has its customer. An event
            # that a correction replaced may never have had one.
            models.CheckConstraint(
                condition=~Q(status__in=["applied", "superseded"])
                | Q(customer__isnull=False)
                | Q(status="superseded", reason="corrected", reason__isnull=False),
                name="%(class)s_applied_has_customer",
            ),
            models.CheckConstraint(
                condition=~Q(status="failed") | (Q(reason__isnull=False) & ~Q(reason="")),
                name="%(class)s_failed_says_why",
            ),
            models.CheckConstraint(
                condition=Q(database__isnull=False) | Q(origin="hq"),
                name="%(class)s_comes_from_somewhere",
            ),
            models.CheckConstraint(
                condition=Q(origin__in=Origin.values), name="%(class)s_origin_is_known"
            ),
        ]
        indexes = [
            # Open events of a GUID, for conversion, and of a company in GUID order.
            models.Index(
                fields=["company", "async_account"],
                condition=Q(status__in=["pending", "failed"]),
                name="%(class)s_open",
            ),
            # Open events that refer to an account number.
            models.Index(
                fields=["company", "account_number"],
                condition=Q(status__in=["pending", "failed"], account_number__isnull=False),
                name="%(class)s_open_account",
            ),
            # Events that arrived on a day. Rows are stored almost in this order, so BRIN is enough.
            BrinIndex(fields=["staged_at"], name="%(class)s_arrived"),
            # Cases for people: failed events, and events that have waited for long.
            models.Index(fields=["reason"], condition=Q(status="failed"), name="%(class)s_failed"),
            models.Index(
                fields=["staged_at"],
                condition=Q(status="pending", reason__isnull=False),
                name="%(class)s_waiting",
            ),
            # The events of a customer.
            models.Index(
                fields=["customer"],
                condition=Q(customer__isnull=False),
                name="%(class)s_history",
            ),
        ]

    def __str__(self) -> str:
        return str(self.event_id)

    @property
    def source(self) -> str:
        """The origin for people: the label of the channel database, or headquarters."""
        return self.database.label if self.database else "headquarters"


class AsyncCustomer(CustomerColumns, Event):
    class Meta(Event.Meta):
        db_table = "async_customer"
        indexes = [
            *Event.Meta.indexes,
            # The list, newest first.
            models.Index(fields=["staged_at", "event_id"], name="async_customer_newest"),
            # Open events of each database, for counting. The condition `database > 0` is always
            # true, but keeps the planner from using this index to look for one GUID: while no
            # event is open, its statistics make reading this whole index seem as cheap.
            models.Index(
                fields=["database"],
                condition=Q(status__in=["pending", "failed"], database__gt=0),
                name="async_customer_open_database",
            ),
            # The list by reason. Few events fail or wait, so it costs the others nothing.
            models.Index(
                fields=["reason", "staged_at", "event_id"],
                condition=Q(status="failed") | Q(reason__isnull=False),
                name="async_customer_reason",
            ),
        ]


class AsyncAddress(AddressColumns, Event):
    address_id = models.UUIDField()

    class Meta(Event.Meta):
        db_table = "async_address"


class AsyncContact(ContactColumns, Event):
    contact_id = models.UUIDField()

    class Meta(Event.Meta):
        db_table = "async_contact"


class AsyncAffiliation(Event):
    affiliation = models.CharField(max_length=20)

    class Meta(Event.Meta):
        db_table = "async_affiliation"


class AsyncAttribute(Event):
    attribute = models.CharField(max_length=60)
    value = models.TextField(null=True, max_length=1000)

    class Meta(Event.Meta):
        db_table = "async_attribute"
