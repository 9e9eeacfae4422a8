"""The exceptions among staged events. An event without a row here fared as its batch did."""

from typing import Self

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from stores.models.reference import Reference


class OpenStatus(models.TextChoices):
    WAITING = "waiting", "Waiting"
    FAILED = "failed", "Failed"


class OpenEventQuerySet(models.QuerySet["OpenEvent"]):
    def waiting(self) -> Self:
        return self.filter(status=OpenStatus.WAITING)

    def failed(self) -> Self:
        return self.filter(status=OpenStatus.FAILED)


class OpenEvent(models.Model):
    """A staged event that conversion tried and could not apply.

    A waiting event is tried again once HQ knows the customer that it names, or once a person
    releases it. Releasing clears the reason and sets `released_at`. The row goes when the event is
    applied or superseded.
    """

    pk = models.CompositePrimaryKey("table", "event_id")
    table = models.CharField(max_length=40)
    event_id = models.UUIDField()
    batch = Reference("UploadBatch")
    company = Reference("Company")
    async_account = models.UUIDField(null=True)
    account_number = models.CharField(max_length=20, null=True)
    status = models.CharField(max_length=7, choices=OpenStatus.choices)
    # A code of stores.messages.reasons, and the column of the event that it is about, if it is one.
    reason = models.CharField(max_length=40, null=True)
    field = models.CharField(max_length=40, null=True)
    attempts = models.PositiveIntegerField(db_default=1)
    last_tried_at = models.DateTimeField(db_default=Now())
    released_at = models.DateTimeField(null=True)

    objects = OpenEventQuerySet.as_manager()

    class Meta:
        db_table = "open_event"
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=OpenStatus.values), name="open_event_status_is_known"
            ),
            models.CheckConstraint(
                condition=~Q(status=OpenStatus.FAILED) | (Q(reason__isnull=False) & ~Q(reason="")),
                name="a_failed_event_says_why",
            ),
            models.CheckConstraint(
                condition=Q(reason__isnull=False, released_at__isnull=True)
                | Q(reason__isnull=True, released_at__isnull=False, status=OpenStatus.WAITING),
                name="a_waiting_event_has_a_reason_or_was_released",
            ),
        ]
        indexes = [
            # For the open events of a GUID, and of an account.
            models.Index(fields=["async_account"], name="open_event_guid"),
            models.Index(
                fields=["company", "account_number"],
                condition=Q(account_number__isnull=False),
                name="open_event_account",
            ),
            # For the events that conversion tries again, and for lists by status and reason.
            models.Index(fields=["company", "status"], name="open_event_company"),
            models.Index(fields=["table", "status", "reason"], name="open_event_reason"),
        ]

    def __str__(self) -> str:
        return f"{self.table} {self.event_id}"


class UnfinishedEvent(models.Model):
    """A row of the view unfinished_event: a staged event that conversion is not done with."""

    pk = models.CompositePrimaryKey("table", "event_id")
    table = models.CharField(max_length=40)
    event_id = models.UUIDField()
    database = Reference("ChannelDatabase", null=True)

    class Meta:
        managed = False
        db_table = "unfinished_event"
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.table} {self.event_id}"


class SettledOutcome(models.TextChoices):
    APPLIED = "applied", "Applied"
    SUPERSEDED = "superseded", "Superseded"


class SettledEvent(models.Model):
    """A staged event that ended in another way, or at another time, than its batch.

    The row stays. It tells which way:

    Applied early: a sale or an edit at HQ needed it before its batch was converted.
    Applied late: what it waited for has come.
    Applied by its GUID (`by_guid`): HQ did not know the account number that it names.
    Superseded: a newer event had been applied, or a correction replaced it.
    """

    pk = models.CompositePrimaryKey("table", "event_id")
    table = models.CharField(max_length=40)
    event_id = models.UUIDField()
    batch = Reference("UploadBatch")
    outcome = models.CharField(max_length=10, choices=SettledOutcome.choices)
    reason = models.CharField(max_length=40, null=True)
    by_guid = models.BooleanField(
        db_default=False,
        help_text="Belongs to the customer of its GUID, though it names another account.",
    )
    applied_at = models.DateTimeField(db_default=Now())
    run = Reference("JobRun", null=True)

    class Meta:
        db_table = "settled_event"
        constraints = [
            models.CheckConstraint(
                condition=Q(outcome__in=SettledOutcome.values),
                name="settled_event_outcome_is_known",
            ),
            models.CheckConstraint(
                condition=Q(reason__isnull=True)
                | Q(reason="corrected", outcome=SettledOutcome.SUPERSEDED),
                name="only_a_corrected_event_has_a_reason",
            ),
        ]
        indexes = [
            # For the settled events of a batch.
            models.Index(fields=["batch"], name="settled_event_batch"),
        ]

    def __str__(self) -> str:
        return f"{self.table} {self.event_id}"
