"""The settings of a till: what jobs 1070 and 1110 have brought into the database it works in.

While a key is missing, the usual value counts: see docs/channel-schema.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from django.db import connections

from stores.channeldb.exchange.protocol import parse_settings

# What features are called, and so what a refusal names.
FEATURES = {
    "async_addresses": "Asynchronous creation of customer addresses",
    "enhanced_creation": "Enhanced async customer creation",
    "async_edit": "Editing customers in asynchronous mode",
    "multiple_contacts": (
        "Capture of multiple e-mails and phone numbers with consent for marketing"
    ),
}
# How many characters HQ keeps of each text, before job 1110 has said so. A test compares them.
EVENT_LENGTHS = {"operation": 10, "account_number": 20, "staff_id": 25, "terminal_id": 10}
USUAL_LENGTHS = {
    "async_customer": EVENT_LENGTHS
    | {"first_name": 60, "middle_name": 60, "last_name": 60, "name": 300, "title": 20}
    | {"language": 7, "currency": 3, "customer_group": 20, "email": 255, "phone": 60}
    | {"receipt_email": 255, "vat_number": 30, "customer_type": 12},
    "async_address": EVENT_LENGTHS
    | {"description": 60, "street": 250, "street_number": 20, "building": 60, "city": 60}
    | {"county": 10, "state": 10, "postal_code": 10, "country": 3, "purpose": 10},
    "async_contact": EVENT_LENGTHS | {"kind": 5, "locator": 255, "description": 60},
    "async_affiliation": EVENT_LENGTHS | {"affiliation": 20},
    "async_attribute": EVENT_LENGTHS | {"attribute": 60, "value": 1000},
}


@dataclass(frozen=True)
class TillSettings:
    """The settings by their keys, as a database holds them."""

    held: Mapping[str, Any]

    @classmethod
    def read(cls, alias: str) -> Self:
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT key, value FROM channel_setting")
            return cls(parse_settings(cursor.fetchall()))

    def section(self, key: str) -> Mapping[str, Any]:
        value = self.held.get(key)
        return value if isinstance(value, dict) else {}

    @property
    def company(self) -> str | None:
        return self.held.get("company")

    @property
    def creates_async(self) -> bool:
        return bool(self.section("profile").get("create_customer_async", True))

    @property
    def order_mode(self) -> str:
        """One of `sync`, `async` and `sync_first`."""
        return str(self.section("profile").get("customer_order_mode", "async"))

    @property
    def is_filtered(self) -> bool:
        return self.held.get("filter_shared_customer_data") is True

    def has(self, feature: str) -> bool:
        return bool(self.section("features").get(feature, True))

    def why_off(self, feature: str, outcome: str = "") -> str:
        """That a feature is switched off, what came of it, and when it works."""
        return (
            f"The feature “{FEATURES[feature]}” is switched off here.{outcome} It works when"
            " headquarters has switched it on and jobs 1070 and 1110 have brought that to this"
            " channel."
        )

    def inherited(self, column: str) -> Any:
        """What a new customer gets of the channel's default customer, or None."""
        return self.section("default_customer").get(column)

    @property
    def affiliations(self) -> dict[str, str]:
        """The affiliations that the till offers, with their descriptions."""
        offered = self.held.get("affiliations") or []
        return {row["name"]: row.get("description") or "" for row in offered}

    @property
    def attributes(self) -> dict[str, Mapping[str, Any]]:
        """The definitions of attributes, by name."""
        return {row["name"]: row for row in self.held.get("attributes") or []}

    def knows_only_defined(self, noun: str) -> bool:
        """Whether HQ quarantines attributes, or affiliations, that are not defined."""
        return bool(self.section("parameters").get(f"known_{noun}s_only", False))

    def lengths(self, table: str) -> dict[str, int]:
        """How many characters HQ keeps of the texts of an event table."""
        return dict(self.section("max_lengths").get(table) or USUAL_LENGTHS[table])
