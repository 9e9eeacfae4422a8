"""Optional fields of customers that break a rule, and that a person should correct."""

from typing import Self

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from stores.messages.labels import label
from stores.messages.reasons import explain
from stores.models.reference import Reference


class FieldToCorrectQuerySet(models.QuerySet["FieldToCorrect"]):
    def open(self) -> Self:
        """Fields that no later event has corrected yet."""
        return self.filter(settled_at__isnull=True)

    def newest_first(self) -> Self:
        return self.order_by("-pk")

    def with_customer(self) -> Self:
        """Select the customer and the channel too."""
        return self.select_related("customer", "database__channel")


class FieldToCorrect(models.Model):
    """One optional field of a customer that breaks a rule.

    Uploads write it. The customer gets an account all the same, and `customer` is empty until the
    event is converted. A later event that corrects the field settles it.
    """

    id = models.BigAutoField(primary_key=True)
    company = Reference("Company")
    # None: made in HQ.
    database = Reference("ChannelDatabase", null=True)
    event_id = models.UUIDField()
    async_account = models.UUIDField(null=True)
    customer = Reference("Customer", null=True, related_name="fields_to_correct")
    field = models.CharField(max_length=40)
    # One of stores.messages.reasons.REASONS.
    rule = models.CharField(max_length=40)
    # Only a value that the customer's column cannot hold. Otherwise the customer has it.
    value = models.TextField(blank=True, db_default="")
    since = models.DateTimeField(db_default=Now())
    settled_at = models.DateTimeField(null=True)

    objects = FieldToCorrectQuerySet.as_manager()

    class Meta:
        db_table = "field_to_correct"
        verbose_name_plural = "fields to correct"
        constraints = [
            models.UniqueConstraint(
                fields=["event_id", "field"], name="a_field_of_an_event_is_marked_once"
            ),
        ]
        indexes = [
            # The open fields of a company, which each conversion checks.
            models.Index(
                fields=["company"], condition=Q(settled_at=None), name="field_to_correct_open"
            ),
            models.Index(fields=["customer"], name="field_to_correct_customer"),
        ]

    def __str__(self) -> str:
        return f"{self.field} of event {self.event_id}"

    @property
    def shown(self) -> object:
        """The wrong value: the one kept here, or else the customer's."""
        if self.value or not self.customer:
            return self.value
        return getattr(self.customer, self.field)

    @property
    def sentence(self) -> str:
        """What is wrong with the field."""
        return explain(self.rule, label(self.field))
