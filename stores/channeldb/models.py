"""The tables of a channel for Python: always with `using(alias)` of an open channel.

Bulk steps read and write with raw cursors instead; these models serve commands, traces and tests.
Their fields are what the schema is made of: `schema.tables` reads them. Source: contract 3.1, 3.2.
"""

from typing import Self

from django.db import models

from stores.channeldb.fields import (
    ChannelCounterField,
    ChannelMoneyField,
    ChannelTimeField,
    ChannelUUIDField,
)

# ruff: noqa: DJ001 - in a channel, text that a till left out is NULL; HQ decides what that means


class ChannelRow(models.Model):
    """A row of a channel, for which HQ knows no permissions."""

    class Meta:
        abstract = True
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self._meta.db_table} {self.pk}"


class EventQuerySet(models.QuerySet["Event"]):
    def unacknowledged(self) -> Self:
        """What HQ does not hold yet, in the order of this database."""
        return self.filter(acknowledged_at__isnull=True).order_by("replication_counter")

    def newest_first(self) -> Self:
        return self.order_by("-replication_counter")


class Event(ChannelRow):
    """One operation at a till: added once, acknowledged by HQ, never changed."""

    event_id = ChannelUUIDField(primary_key=True)
    replication_counter = ChannelCounterField()
    occurred_at = ChannelTimeField()
    operation = models.TextField(null=True)
    async_account = ChannelUUIDField(null=True)
    account_number = models.TextField(null=True)
    staff_id = models.TextField(null=True)
    terminal_id = models.TextField(null=True)
    created_offline = models.BooleanField(null=True, default=False)
    acknowledged_at = ChannelTimeField(null=True)

    objects = EventQuerySet.as_manager()

    class Meta(ChannelRow.Meta):
        abstract = True


class EventOfCustomer(Event):
    """An operation on a customer, or on what belongs to one."""

    # The hq_version that the till had seen when it wrote the event.
    based_on = models.BigIntegerField(null=True)

    class Meta(Event.Meta):
        abstract = True


class CustomerColumns(models.Model):
    customer_type = models.TextField(null=True)
    first_name = models.TextField(null=True)
    middle_name = models.TextField(null=True)
    last_name = models.TextField(null=True)
    name = models.TextField(null=True)
    title = models.TextField(null=True)
    language = models.TextField(null=True)
    currency = models.TextField(null=True)
    customer_group = models.TextField(null=True)
    email = models.TextField(null=True)
    phone = models.TextField(null=True)
    receipt_email = models.TextField(null=True)
    vat_number = models.TextField(null=True)
    birth_date = models.DateField(null=True)

    class Meta:
        abstract = True


class AddressColumns(models.Model):
    address_id = ChannelUUIDField()
    purpose = models.TextField(null=True)
    description = models.TextField(null=True)
    street = models.TextField(null=True)
    street_number = models.TextField(null=True)
    building = models.TextField(null=True)
    city = models.TextField(null=True)
    county = models.TextField(null=True)
    state = models.TextField(null=True)
    postal_code = models.TextField(null=True)
    country = models.TextField(null=True)
    is_primary = models.BooleanField(null=True)

    class Meta:
        abstract = True


class ContactColumns(models.Model):
    contact_id = ChannelUUIDField()
    kind = models.TextField(null=True)
    locator = models.TextField(null=True)
    description = models.TextField(null=True)
    is_primary = models.BooleanField(null=True)
    # NULL means no.
    marketing_opt_in = models.BooleanField(null=True)

    class Meta:
        abstract = True


# ------------------------------------------------------- written by the till


class CustomerEvent(EventOfCustomer, CustomerColumns):
    class Meta(EventOfCustomer.Meta):
        db_table = "async_customer"


class AddressEvent(EventOfCustomer, AddressColumns):
    class Meta(EventOfCustomer.Meta):
        db_table = "async_address"


class ContactEvent(EventOfCustomer, ContactColumns):
    class Meta(EventOfCustomer.Meta):
        db_table = "async_contact"


class AffiliationEvent(EventOfCustomer):
    affiliation = models.TextField(null=True)

    class Meta(EventOfCustomer.Meta):
        db_table = "async_affiliation"


class AttributeEvent(EventOfCustomer):
    attribute = models.TextField(null=True)
    value = models.TextField(null=True)

    class Meta(EventOfCustomer.Meta):
        db_table = "async_attribute"


class RetailTransaction(Event):
    """A sale, return or customer order; its lines and payments travel with it."""

    transaction_id = models.TextField(null=True, unique=True)
    transaction_type = models.TextField(null=True)
    entry_status = models.TextField(null=True)
    confirmation_number = models.TextField(null=True)
    business_date = models.DateField(null=True)
    store_number = models.TextField(null=True)
    currency = models.TextField(null=True)
    net_amount = ChannelMoneyField(null=True)
    tax_amount = ChannelMoneyField(null=True)
    gross_amount = ChannelMoneyField(null=True)
    discount_amount = ChannelMoneyField(null=True)
    payment_amount = ChannelMoneyField(null=True)
    line_count = models.IntegerField(null=True)
    delivery_address_id = ChannelUUIDField(null=True)
    delivery_mode = models.TextField(null=True)
    receipt_number = models.TextField(null=True)

    class Meta(Event.Meta):
        db_table = "retail_transaction"


class RetailTransactionLine(ChannelRow):
    pk = models.CompositePrimaryKey("transaction_id", "line_number")
    transaction_id = models.TextField()
    line_number = models.IntegerField()
    item_id = models.TextField(null=True)
    description = models.TextField(null=True)
    quantity = ChannelMoneyField(null=True)
    unit = models.TextField(null=True)
    price = ChannelMoneyField(null=True)
    discount_amount = ChannelMoneyField(null=True)
    tax_amount = ChannelMoneyField(null=True)
    net_amount = ChannelMoneyField(null=True)
    is_voided = models.BooleanField(null=True)

    class Meta(ChannelRow.Meta):
        db_table = "retail_transaction_line"


class RetailTransactionPayment(ChannelRow):
    pk = models.CompositePrimaryKey("transaction_id", "line_number")
    transaction_id = models.TextField()
    line_number = models.IntegerField()
    tender_type = models.TextField(null=True)
    amount = ChannelMoneyField(null=True)
    currency = models.TextField(null=True)

    class Meta(ChannelRow.Meta):
        db_table = "retail_transaction_payment"


# ------------------------------------------------------------- written by HQ


class AccountRow(ChannelRow):
    """What HQ tells the channel about one account; a higher version replaces a lower one."""

    company = models.TextField()
    account_number = models.TextField()
    # Rows stay: a removal is a higher version that is not active.
    is_active = models.BooleanField(default=True)
    hq_version = models.BigIntegerField(default=0)

    class Meta(ChannelRow.Meta):
        abstract = True


class Customer(AccountRow, CustomerColumns):
    """An account as HQ knows it."""

    pk = models.CompositePrimaryKey("company", "account_number")
    async_account = ChannelUUIDField(null=True)
    is_blocked = models.BooleanField(default=False)

    class Meta(AccountRow.Meta):
        db_table = "customer"


class CustomerAddress(AccountRow, AddressColumns):
    address_id = ChannelUUIDField(primary_key=True)

    class Meta(AccountRow.Meta):
        db_table = "customer_address"


class CustomerContact(AccountRow, ContactColumns):
    contact_id = ChannelUUIDField(primary_key=True)

    class Meta(AccountRow.Meta):
        db_table = "customer_contact"


class CustomerAffiliation(AccountRow):
    pk = models.CompositePrimaryKey("company", "account_number", "affiliation")
    affiliation = models.TextField()

    class Meta(AccountRow.Meta):
        db_table = "customer_affiliation"


class CustomerAttribute(AccountRow):
    pk = models.CompositePrimaryKey("company", "account_number", "attribute")
    attribute = models.TextField()
    value = models.TextField(null=True)

    class Meta(AccountRow.Meta):
        db_table = "customer_attribute"


class AccountMap(ChannelRow):
    """A GUID that has an account; several GUIDs of one person may lead to the same."""

    async_account = ChannelUUIDField(primary_key=True)
    company = models.TextField()
    account_number = models.TextField()
    received_at = ChannelTimeField()

    class Meta(ChannelRow.Meta):
        db_table = "account_map"


class ChannelSetting(ChannelRow):
    """One effective setting: profile, features, defaults, definitions; also "company"."""

    key = models.TextField(primary_key=True)
    value = models.JSONField(null=True)

    class Meta(ChannelRow.Meta):
        db_table = "channel_setting"


class AppliedSession(ChannelRow):
    """One transaction that HQ made here: a known session and part is skipped."""

    pk = models.CompositePrimaryKey("session_id", "part")
    session_id = ChannelUUIDField()
    part = models.IntegerField()
    job = models.TextField(null=True)
    rows = models.IntegerField(null=True)
    applied_at = ChannelTimeField()

    class Meta(ChannelRow.Meta):
        db_table = "applied_session"


class ExchangeState(ChannelRow):
    """The one row by which HQ recognizes this database and its latest visit."""

    database_id = ChannelUUIDField(primary_key=True)
    epoch = models.BigIntegerField()
    nonce = ChannelUUIDField()
    account_high = models.JSONField(default=dict)
    updated_at = ChannelTimeField()
    # Company -> up to which change of its customers this database has everything.
    positions = models.JSONField(default=dict)

    class Meta(ChannelRow.Meta):
        db_table = "exchange_state"
