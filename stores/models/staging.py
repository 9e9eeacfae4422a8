"""What channels sent: append-only copies of their events, with what became of each.

References carry no foreign key constraint here: half a million rows a run would each lock the row
they point at, and neither channels, databases nor customers are ever deleted.
"""

from typing import Self

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from stores.models.customer import AddressColumns, ContactColumns, CustomerColumns


class StagingStatus(models.TextChoices):
    """What became of an event. Internal; people see the states of the contract."""

    PENDING = "pending", "Pending"
    APPLIED = "applied", "Applied"
    FAILED = "failed", "Failed"
    SUPERSEDED = "superseded", "Superseded"
    ERASED = "erased", "Erased"


OPEN = (StagingStatus.PENDING, StagingStatus.FAILED)


class Operation(models.TextChoices):
    CREATE = "create", "Create"
    UPDATE = "update", "Update"
    DEACTIVATE = "deactivate", "Deactivate"


class EventQuerySet(models.QuerySet["Event"]):
    def open(self) -> Self:
        """Not applied yet: waiting or failed."""
        return self.filter(status__in=OPEN)

    def in_order(self) -> Self:
        """As the channel wrote them."""
        return self.order_by("database_id", "generation", "replication_counter")


class Event(models.Model):
    """One operation of a till, as HQ holds it."""

    event_id = models.UUIDField(primary_key=True)
    database = models.ForeignKey(
        "stores.ChannelDatabase",
        models.PROTECT,
        db_index=False,
        db_constraint=False,
        related_name="+",
    )
    company = models.ForeignKey(
        "stores.Company", models.PROTECT, db_index=False, db_constraint=False, related_name="+"
    )
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
    session = models.ForeignKey(
        "stores.UploadSession",
        models.PROTECT,
        db_index=False,
        db_constraint=False,
        related_name="+",
    )
    staged_at = models.DateTimeField(db_default=Now())
    customer = models.ForeignKey(
        "stores.Customer",
        models.PROTECT,
        null=True,
        db_index=False,
        db_constraint=False,
        related_name="%(class)s_events",
    )
    applied_at = models.DateTimeField(null=True)
    applied_run = models.ForeignKey(
        "stores.JobRun",
        models.PROTECT,
        null=True,
        db_index=False,
        db_constraint=False,
        related_name="+",
    )

    objects = EventQuerySet.as_manager()

    class Meta:
        abstract = True
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=StagingStatus.values), name="%(class)s_status_is_known"
            ),
            # A customer is known once the event was applied (or came too late to be).
            models.CheckConstraint(
                condition=~Q(status__in=["applied", "superseded"]) | Q(customer__isnull=False),
                name="%(class)s_applied_has_customer",
            ),
        ]
        indexes = [
            # What conversion claims, in GUID order, and what a person must look at.
            models.Index(
                fields=["company", "async_account"],
                condition=Q(status__in=["pending", "failed"]),
                name="%(class)s_open",
            ),
            # Events that name an account.
            models.Index(
                fields=["company", "account_number"],
                condition=Q(status__in=["pending", "failed"], account_number__isnull=False),
                name="%(class)s_open_account",
            ),
            # The history of one customer; filled in customer order, so it stays cheap.
            models.Index(
                fields=["customer"],
                condition=Q(customer__isnull=False),
                name="%(class)s_history",
            ),
        ]

    def __str__(self) -> str:
        return str(self.event_id)


class AsyncCustomer(CustomerColumns, Event):
    class Meta(Event.Meta):
        db_table = "async_customer"
        indexes = [
            *Event.Meta.indexes,
            # The list, newest first.
            models.Index(fields=["-staged_at", "event_id"], name="async_customer_newest"),
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
    value = models.TextField(null=True)

    class Meta(Event.Meta):
        db_table = "async_attribute"
