"""Customers with an account, their addresses and other details, and the GUIDs of accounts."""

import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Self

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.urls import reverse

from stores.models.channel import ChannelDatabase
from stores.models.job import JobCode
from stores.models.package import DownloadException
from stores.models.reference import Reference
from stores.values.characters import normalize_key, normalize_text

# Text columns allow both NULL and '', as the tables of channels do: NULL if the till sent nothing.


class CustomerColumns(models.Model):
    """The columns of a customer that tills send, in the lengths of the channel schema."""

    customer_type = models.CharField(max_length=12, null=True)
    first_name = models.CharField(max_length=60, null=True)
    middle_name = models.CharField(max_length=60, null=True)
    last_name = models.CharField(max_length=60, null=True)
    name = models.CharField(max_length=300, null=True)
    title = models.CharField(max_length=20, null=True)
    language = models.CharField(max_length=7, null=True)
    currency = models.CharField(max_length=3, null=True)
    customer_group = models.CharField(max_length=20, null=True)
    email = models.CharField(max_length=255, null=True)
    phone = models.CharField(max_length=60, null=True)
    receipt_email = models.CharField(max_length=255, null=True)
    vat_number = models.CharField(max_length=30, null=True)
    birth_date = models.DateField(null=True)

    class Meta:
        abstract = True

    @property
    def display_name(self) -> str:
        return self.name or composed_name(self.first_name, self.middle_name, self.last_name)


def composed_name(*parts: str | None) -> str:
    """Return the name of a person whose first, middle and last name are these."""
    return " ".join(part for part in parts if part)


class AddressColumns(models.Model):
    """The columns of an address that tills send."""

    purpose = models.CharField(max_length=10, null=True)
    description = models.CharField(max_length=60, null=True)
    street = models.CharField(max_length=250, null=True)
    street_number = models.CharField(max_length=20, null=True)
    building = models.CharField(max_length=60, null=True)
    city = models.CharField(max_length=60, null=True)
    county = models.CharField(max_length=10, null=True)
    state = models.CharField(max_length=10, null=True)
    postal_code = models.CharField(max_length=10, null=True)
    country = models.CharField(max_length=3, null=True)
    is_primary = models.BooleanField(null=True)

    class Meta:
        abstract = True


class ContactColumns(models.Model):
    """The columns of an e-mail address, a phone number or a web address that tills send."""

    kind = models.CharField(max_length=5, null=True)
    locator = models.CharField(max_length=255, null=True)
    description = models.CharField(max_length=60, null=True)
    is_primary = models.BooleanField(null=True)
    marketing_opt_in = models.BooleanField(null=True)

    class Meta:
        abstract = True


class LatestEvent(models.Model):
    """The event that wrote the row last. An older event that arrives late must not overwrite it.

    The columns tell which of two events is the later one. Without a database it was made at HQ.
    """

    event_at = models.DateTimeField(db_default=Now())
    event_database = models.IntegerField(null=True)
    event_generation = models.IntegerField(null=True)
    event_counter = models.BigIntegerField(null=True)

    class Meta:
        abstract = True


class AccountState(models.TextChoices):
    """Erased: its personal data was removed. Void: a number whose customer recovery cannot find."""

    ACTIVE = "active", "Active"
    ERASED = "erased", "Erased"
    VOID = "void", "Void"


class ReceiptPreference(models.TextChoices):
    """How a customer wants to get receipts."""

    PAPER = "paper", "On paper"
    EMAIL = "email", "By e-mail"
    BOTH = "both", "On paper and by e-mail"
    NONE = "none", "None"


class CustomerQuerySet(models.QuerySet["Customer"]):
    def newest_first(self) -> Self:
        return self.order_by("-pk")


class Customer(CustomerColumns, LatestEvent):
    """One account of one company.

    Conversion creates it for a new customer. Triggers refuse to delete it or to change its number.
    """

    id = models.BigAutoField(primary_key=True)
    # A trigger checks this reference, and those to customers, once per statement: ADR 0007.
    company = Reference("Company", related_name="customers")
    # 20 characters cannot hold a GUID, so no account ever looks like one.
    account_number = models.CharField(max_length=20)
    number = models.BigIntegerField(
        null=True, help_text="Place in the number sequence; none if the sequence did not issue it."
    )
    state = models.CharField(
        max_length=8, choices=AccountState.choices, db_default=AccountState.ACTIVE
    )
    is_blocked = models.BooleanField(db_default=False)
    # These two stay at HQ. A new customer inherits them from the default customer of its channel,
    # and from the customer group of that.
    receipt_preference = models.CharField(
        max_length=5, choices=ReceiptPreference.choices, null=True, blank=True
    )
    financial_dimensions = models.CharField(max_length=100, null=True, blank=True)
    # False after a till has deactivated it.
    is_active = models.BooleanField(db_default=True)
    # Raised by every change, also of addresses and other details. Forms send back the version that
    # they showed, so that nobody overwrites a change without having seen it.
    hq_version = models.BigIntegerField(db_default=1)
    # The number of the latest change of the customer or its details. Null: no channel gets the
    # customer, for example a default customer.
    change_no = models.BigIntegerField(null=True, editable=False)
    created_at = models.DateTimeField(db_default=Now())
    modified_at = models.DateTimeField(db_default=Now())

    objects = CustomerQuerySet.as_manager()

    class Meta:
        db_table = "customer"
        constraints = [
            models.UniqueConstraint(
                fields=["company", "account_number"], name="account_is_unique_in_its_company"
            ),
            models.UniqueConstraint(
                fields=["company", "number"], name="number_is_issued_once_in_its_company"
            ),
            models.UniqueConstraint(
                fields=["company", "change_no"], name="a_change_number_is_given_once"
            ),
            models.CheckConstraint(
                condition=Q(state__in=AccountState.values), name="account_state_is_known"
            ),
            models.CheckConstraint(
                condition=Q(receipt_preference__in=ReceiptPreference.values),
                name="receipt_preference_is_known",
            ),
        ]
        # migrations/sql/search.sql has the indexes that find people.
        indexes = [
            # The list of inactive customers, few among millions.
            models.Index(fields=["id"], condition=Q(is_active=False), name="customer_inactive"),
            # Uploads look for erased customers; mostly there are none.
            models.Index(fields=["company"], condition=Q(state="erased"), name="customer_erased"),
        ]
        permissions = [("export", "Can have lists as CSV")]

    def __str__(self) -> str:
        return self.account_number

    def get_absolute_url(self) -> str:
        # Another company may have the same account number.
        return reverse("customer", args=[self.account_number], query={"company": self.company_id})

    def databases_lacking(self) -> "models.QuerySet[ChannelDatabase]":
        """The databases of the company that lack the latest change, switched on or not.

        Registers that are sent no customers lack nothing.
        """
        recipients = ChannelDatabase.objects.recipients_of(JobCode.DOWNLOAD)
        databases = recipients.filter(channel__company=self.company_id)
        if self.change_no is None:
            return databases.none()
        excepted = DownloadException.objects.lacking().filter(customer=self).values("database")
        return databases.lacking_change(self.change_no) | databases.filter(pk__in=excepted)


class Child(LatestEvent):
    """A row that belongs to a customer. A removal makes it inactive."""

    is_active = models.BooleanField(db_default=True)
    hq_version = models.BigIntegerField(db_default=1)

    class Meta:
        abstract = True


class CustomerAddress(AddressColumns, Child):
    """An address; at most one primary for each customer and purpose."""

    address_id = models.UUIDField(primary_key=True)
    customer = models.ForeignKey(
        Customer, models.PROTECT, db_constraint=False, related_name="addresses"
    )

    class Meta:
        db_table = "customer_address"
        constraints = [
            models.UniqueConstraint(
                fields=["customer", "purpose"],
                condition=Q(is_primary=True, is_active=True),
                name="one_primary_address_per_purpose",
            ),
        ]

    def __str__(self) -> str:
        return str(self.address_id)


class CustomerContact(ContactColumns, Child):
    """A way to reach a customer; at most one primary for each customer and kind."""

    contact_id = models.UUIDField(primary_key=True)
    customer = models.ForeignKey(
        Customer, models.PROTECT, db_constraint=False, related_name="contacts"
    )

    class Meta:
        db_table = "customer_contact"
        constraints = [
            models.UniqueConstraint(
                fields=["customer", "kind"],
                condition=Q(is_primary=True, is_active=True),
                name="one_primary_contact_per_kind",
            ),
        ]

    def __str__(self) -> str:
        return str(self.contact_id)


class CustomerAffiliation(Child):
    """Membership in a named group of customers."""

    pk = models.CompositePrimaryKey("customer_id", "affiliation")
    customer = Reference(Customer, related_name="affiliations")
    affiliation = models.CharField(max_length=20)

    class Meta:
        db_table = "customer_affiliation"

    def __str__(self) -> str:
        return self.affiliation


class CustomerAttribute(Child):
    """A named property of a customer, such as a shoe size. Its value is a text of any type."""

    pk = models.CompositePrimaryKey("customer_id", "attribute")
    customer = Reference(Customer, related_name="attributes")
    attribute = models.CharField(max_length=60)
    value = models.TextField(null=True, max_length=1000)

    class Meta:
        db_table = "customer_attribute"

    def __str__(self) -> str:
        return self.attribute


class AttributeType(models.TextChoices):
    TEXT = "text", "Text"
    DECIMAL = "decimal", "Decimal number"
    INTEGER = "integer", "Whole number"
    BOOLEAN = "boolean", "Yes or no"
    CURRENCY = "currency", "Amount of money"


class AttributeDefinition(models.Model):
    """The values that an attribute may have. An attribute without a definition takes any text."""

    company = models.ForeignKey("Company", models.PROTECT, related_name="attribute_definitions")
    name = models.CharField(max_length=60)
    data_type = models.CharField(
        max_length=8, choices=AttributeType.choices, default=AttributeType.TEXT
    )
    options = models.JSONField(
        default=list, blank=True, help_text="The allowed values; empty: any of the type."
    )
    smallest = models.DecimalField(max_digits=18, decimal_places=4, null=True, blank=True)
    largest = models.DecimalField(max_digits=18, decimal_places=4, null=True, blank=True)

    class Meta:
        db_table = "attribute_definition"
        ordering = ["company", "name"]
        constraints = [
            models.UniqueConstraint(fields=["company", "name"], name="attribute_is_defined_once"),
            models.CheckConstraint(
                condition=Q(data_type__in=AttributeType.values), name="attribute_type_is_known"
            ),
            models.CheckConstraint(
                condition=Q(smallest=None) | Q(largest=None) | Q(smallest__lte=F("largest")),
                name="an_attribute_has_values",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Refuse a definition that no value fits."""
        self.name = normalize_key(self.name or "")
        self.options = options_of(self.options)
        is_number = self.data_type in NUMBER_FORMS
        if not self.name:
            raise ValidationError({"name": "Name: letters that one can read."})
        for limit in ("smallest", "largest"):
            if getattr(self, limit) is not None and not is_number:
                raise ValidationError({limit: f"{limit.capitalize()}: only numbers have a limit."})
        smallest, largest = self.smallest, self.largest
        if smallest is not None and largest is not None and smallest > largest:
            raise ValidationError({"largest": "Largest: must not be smaller than the smallest."})
        for option in self.options:
            if not self.takes(option):
                raise ValidationError(
                    {"options": f"Options: {option!r} must be of the type and within the limits."}
                )

    def takes(self, value: str) -> bool:
        """Whether a value is of the type and within the limits. Upload has a rule for the same."""
        if self.data_type == AttributeType.BOOLEAN:
            return value in ("true", "false", "0", "1")
        if self.data_type not in NUMBER_FORMS:
            return True
        if not re.fullmatch(NUMBER_FORMS[self.data_type], value, re.ASCII):
            return False
        number = Decimal(value)
        is_too_small = self.smallest is not None and number < self.smallest
        is_too_large = self.largest is not None and number > self.largest
        return not is_too_small and not is_too_large


# How the numbers of an attribute are written, by its type.
NUMBER_FORMS: dict[str, str] = {
    AttributeType.INTEGER: r"[+-]?[0-9]{1,14}",
    AttributeType.DECIMAL: r"[+-]?[0-9]{1,14}([.][0-9]{1,4})?",
    AttributeType.CURRENCY: r"[+-]?[0-9]{1,14}([.][0-9]{1,4})?",
}


def options_of(typed: Iterable[object]) -> list[str]:
    """The options of an attribute as they are compared. Errors: ValidationError."""
    options = [normalize_text(str(option)) for option in typed]
    if "" in options or len(set(options)) < len(options):
        raise ValidationError({"options": "Options: none may be empty or there twice."})
    return options


class GuidOrigin(models.TextChoices):
    CREATED = "created", "Created"
    LINKED = "linked", "Linked"


class GuidMap(models.Model):
    """The account of each GUID. A trigger refuses every change.

    Each account has one GUID that created it; a person may link others to it.
    """

    async_account = models.UUIDField(primary_key=True)
    # A trigger checks that customer and channel belong to the company.
    company = models.ForeignKey("Company", models.PROTECT, db_index=False, db_constraint=False)
    customer = models.ForeignKey(
        Customer, models.PROTECT, db_constraint=False, related_name="guids"
    )
    origin = models.CharField(
        max_length=7, choices=GuidOrigin.choices, db_default=GuidOrigin.CREATED
    )
    channel = Reference("Channel")
    run = Reference("JobRun", null=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "guid_map"
        verbose_name = verbose_name_plural = "GUID map"
        constraints = [
            models.UniqueConstraint(
                fields=["customer"],
                condition=Q(origin="created"),
                name="one_guid_creates_an_account",
            ),
            models.CheckConstraint(
                condition=Q(origin__in=GuidOrigin.values), name="guid_origin_is_known"
            ),
        ]

    def __str__(self) -> str:
        return str(self.async_account)
