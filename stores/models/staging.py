"""Staging: the events that channels sent, and the state of each.

The tables are a log: an event is inserted once and never updated, unless its person is erased. Its
state follows from its batch, and from a row of `open_event` or `settled_event` where it fared
otherwise; the views `staged_customer`, `staged_address`, … tell it. Edits that people make at
headquarters are events too, so that there is only one way to write a customer.
"""

from typing import Self

from django.conf import settings
from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from stores.models.customer import (
    AddressColumns,
    ContactColumns,
    Customer,
    CustomerColumns,
    GuidMap,
)
from stores.models.open_event import OpenEvent
from stores.models.reference import Reference
from stores.models.upload_batch import UploadBatch


class StagingStatus(models.TextChoices):
    """The progress of an event in the pipeline. Pages and JSON show the states of a customer."""

    PENDING = "pending", "Pending"
    APPLIED = "applied", "Applied"
    FAILED = "failed", "Failed"
    SUPERSEDED = "superseded", "Superseded"
    ERASED = "erased", "Erased"


# The generation of the events that tills send to the real-time service.
RTS_GENERATION = 0
OPEN_STATUSES = (StagingStatus.PENDING, StagingStatus.FAILED)
# With more open events than this, a statement does not name them one by one.
MAX_OPEN_IDS = 10_000


class Operation(models.TextChoices):
    CREATE = "create", "Create"
    UPDATE = "update", "Update"
    DEACTIVATE = "deactivate", "Deactivate"


class Origin(models.TextChoices):
    TILL = "till", "Till"
    HQ = "hq", "Headquarters"
    RTS = "rts", "Real-time service"


class StagedEvent(models.Model):
    """One operation that a till, or a person at HQ, performed on a customer, as it was staged.

    An event of HQ has no channel database, and a counter of HQ's own. So has one that a till sent
    to the real-time service, but it belongs to the channel's database: as the earliest event of it,
    in a generation that no database writes.
    """

    event_id = models.UUIDField(primary_key=True)
    origin = models.CharField(max_length=4, choices=Origin.choices, db_default=Origin.TILL)
    batch = Reference("stores.UploadBatch")
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
    # The version of the customer that the till had seen, if it says so.
    based_on = models.BigIntegerField(null=True)
    staged_at = models.DateTimeField(db_default=Now())
    made_by = Reference(settings.AUTH_USER_MODEL, null=True)
    # Of a correction made at HQ: the id of the row it replaces, and the database that sent that
    # row. A customer that the correction creates belongs to the channel of that database.
    corrects = models.CharField(max_length=36, null=True)
    for_database = Reference("stores.ChannelDatabase", null=True)
    # When the person was erased, and the personal data of the event with them.
    erased_at = models.DateTimeField(null=True)

    class Meta:
        abstract = True
        constraints = [
            models.CheckConstraint(
                condition=Q(database__isnull=False) | Q(origin="hq"),
                name="%(class)s_comes_from_somewhere",
            ),
            models.CheckConstraint(
                condition=Q(origin__in=Origin.values), name="%(class)s_origin_is_known"
            ),
            models.CheckConstraint(
                condition=Q(origin="rts", generation=RTS_GENERATION, database__isnull=False)
                | (~Q(origin="rts") & Q(generation__gt=RTS_GENERATION)),
                name="%(class)s_is_in_its_generation",
            ),
        ]
        indexes = [
            # The events of a batch, for conversion.
            models.Index(fields=["batch"], name="%(class)s_batch"),
            # The events of a customer, by GUID and by account number.
            models.Index(fields=["async_account"], name="%(class)s_guid"),
            models.Index(
                fields=["company", "account_number"],
                condition=Q(account_number__isnull=False),
                name="%(class)s_account",
            ),
            # Events that arrived on a day. Rows are stored almost in this order, so BRIN is enough.
            BrinIndex(fields=["staged_at"], name="%(class)s_arrived"),
        ]

    def __str__(self) -> str:
        return str(self.event_id)

    @property
    def source(self) -> str:
        """The origin for people: the label of the channel database, or headquarters."""
        return self.database.label if self.database else "headquarters"


class StagedCustomer(CustomerColumns, StagedEvent):
    class Meta(StagedEvent.Meta):
        db_table = "async_customer"
        indexes = [
            *StagedEvent.Meta.indexes,
            # The list, newest first.
            models.Index(fields=["staged_at", "event_id"], name="async_customer_newest"),
        ]


class StagedAddress(AddressColumns, StagedEvent):
    address_id = models.UUIDField()

    class Meta(StagedEvent.Meta):
        db_table = "async_address"


class StagedContact(ContactColumns, StagedEvent):
    contact_id = models.UUIDField()

    class Meta(StagedEvent.Meta):
        db_table = "async_contact"


class StagedAffiliation(StagedEvent):
    affiliation = models.CharField(max_length=20)

    class Meta(StagedEvent.Meta):
        db_table = "async_affiliation"


class AttributeColumns(models.Model):
    """The columns of an attribute that tills send."""

    attribute = models.CharField(max_length=60)
    value = models.TextField(null=True, max_length=1000)

    class Meta:
        abstract = True


class StagedAttribute(AttributeColumns, StagedEvent):
    class Meta(StagedEvent.Meta):
        db_table = "async_attribute"


class EventQuerySet(models.QuerySet["Event"]):
    def open(self) -> Self:
        return self.filter(self.model.is_open())

    def of_customer(self, customer: Customer) -> Self:
        """Those of the customer, found by its account number and its GUIDs."""
        guids = GuidMap.objects.filter(customer=customer).values_list("pk", flat=True)
        names_account = Q(account_number=customer.account_number, company=customer.company_id)
        return self.filter(names_account | Q(async_account__in=list(guids)), customer=customer)

    def in_order(self) -> Self:
        return self.order_by("database_id", "generation", "replication_counter")


class Event(StagedEvent):
    """A staged event with its state: a row of a view.

    The customer is the one that HQ knew under the account number that the event names, or else
    under its GUID.
    """

    status = models.CharField(max_length=10, choices=StagingStatus.choices)
    reason = models.CharField(max_length=40, null=True)
    field = models.CharField(max_length=40, null=True)
    attempts = models.IntegerField(null=True)
    # None: made at HQ, sent to the real-time service, or released from quarantine; the quarantined
    # row then has the session.
    session = Reference("stores.UploadSession", null=True)
    customer = Reference("stores.Customer", null=True, related_name="%(class)s_events")
    applied_at = models.DateTimeField(null=True)
    applied_run = Reference("stores.JobRun", null=True)

    objects = EventQuerySet.as_manager()

    class Meta:
        abstract = True
        managed = False
        default_permissions = ()

    @classmethod
    def log_table(cls) -> str:
        """The table in which the events are staged."""
        return cls._meta.db_table.replace("staged_", "async_")

    @classmethod
    def is_open(cls) -> Q:
        """Condition: the event waits or failed.

        Where they are is looked up first, so that nobody reads all events to find a few.
        """
        batches = UploadBatch.objects.unconverted().values_list("pk", flat=True)
        opened = OpenEvent.objects.filter(table=cls.log_table())
        ids = list(opened.values_list("event_id", flat=True)[: MAX_OPEN_IDS + 1])
        condition = Q(status__in=OPEN_STATUSES)
        if len(ids) <= MAX_OPEN_IDS:
            condition &= Q(batch__in=list(batches)) | Q(pk__in=ids)
        return condition


class AsyncCustomer(CustomerColumns, Event):
    class Meta(Event.Meta):
        db_table = "staged_customer"


class AsyncAddress(AddressColumns, Event):
    address_id = models.UUIDField()

    class Meta(Event.Meta):
        db_table = "staged_address"


class AsyncContact(ContactColumns, Event):
    contact_id = models.UUIDField()

    class Meta(Event.Meta):
        db_table = "staged_contact"


class AsyncAffiliation(Event):
    affiliation = models.CharField(max_length=20)

    class Meta(Event.Meta):
        db_table = "staged_affiliation"


class AsyncAttribute(AttributeColumns, Event):
    class Meta(Event.Meta):
        db_table = "staged_attribute"
