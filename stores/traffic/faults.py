"""Rows as broken tills write them: one function per fault, each spoiling a good customer.

PostgreSQL knows uuids and dates, SQLite takes any text. All come from one terminal, so that no edit
ever builds on them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from django.db.backends.utils import CursorWrapper

from stores.traffic import people
from stores.traffic.store import Store

BROKEN_TERMINAL = "T99"
SQLITE, POSTGRESQL = "sqlite", "postgresql"
FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466"
FLAG = "\U0001f1f3\U0001f1f1"
IDEOGRAPH = "\U00020bb7"  # four bytes in UTF-8, two units in UTF-16


class RawText(bytes):
    """Bytes that SQLite stores as text without looking at them."""


@dataclass(frozen=True)
class Fault:
    """One fault; `reason` is HQ's word for the quarantined row, empty if HQ takes it or waits."""

    spoil: Callable[[people.CustomerEvents], None]
    reason: str = ""
    engine: str = ""
    table: str = "async_customer"

    @property
    def name(self) -> str:
        return self.spoil.__name__


def faults_on(engine: str) -> tuple[Fault, ...]:
    return tuple(fault for fault in FAULTS if fault.engine in ("", engine))


def make_faulty(rng: Random, store: Store, occurred_at: str, fault: Fault) -> people.CustomerEvents:
    """A new customer with one fault, and no rows but those that show it."""
    customer = people.new_customer(rng, store, occurred_at)["async_customer"][0]
    customer["terminal_id"] = BROKEN_TERMINAL
    stamp = {column: customer[column] for column in people.STAMP}
    country = people.home_country(rng, store)
    kept: people.CustomerEvents = {"async_customer": [customer]}
    if fault.table == "async_address":
        addresses = [people.make_address(rng, country, number, business=False) for number in (0, 1)]
        kept["async_address"] = [
            people.make_event_row(rng, stamp, address) for address in addresses
        ]
    if fault.table == "async_contact":
        contact = people.make_contact(rng, country, customer, 0)
        kept["async_contact"] = [people.make_event_row(rng, stamp, contact)]
    fault.spoil(kept)
    return kept


def insert_exactly(cursor: CursorWrapper, table: str, row: people.EventRow) -> bool:
    """Write one row with its bytes as they are; false if the till had written it before."""
    values = ", ".join("CAST(%s AS TEXT)" if isinstance(v, RawText) else "%s" for v in row.values())
    on_retry = "ON CONFLICT DO NOTHING" if cursor.db.vendor == POSTGRESQL else ""
    cursor.execute(
        f"INSERT INTO {table} ({', '.join(row)}) VALUES ({values}) {on_retry}",  # noqa: S608
        list(row.values()),
    )
    return bool(cursor.rowcount)


def guid_in_braces(events: people.CustomerEvents) -> None:
    """The GUID as some systems print it: {…}."""
    customer = _customer(events)
    customer["async_account"] = f"{{{customer['async_account']}}}"


def guid_as_urn(events: people.CustomerEvents) -> None:
    """The GUID as a URN."""
    customer = _customer(events)
    customer["async_account"] = f"urn:uuid:{customer['async_account']}"


def guid_without_hyphens(events: people.CustomerEvents) -> None:
    """The GUID as 32 digits."""
    customer = _customer(events)
    customer["async_account"] = customer["async_account"].replace("-", "")


def guid_missing(events: people.CustomerEvents) -> None:
    """Neither a GUID nor an account: nobody knows whose row it is."""
    _customer(events)["async_account"] = None


def guid_empty(events: people.CustomerEvents) -> None:
    """An empty text where the GUID belongs."""
    _customer(events)["async_account"] = ""


def event_id_empty(events: people.CustomerEvents) -> None:
    """An empty event id. A channel holds it once, so every call writes the very same row."""
    _customer(events).update(dict.fromkeys(_customer(events)))
    _customer(events).update(event_id="", occurred_at="2025-06-02T09:00:00+02:00")
    _customer(events).update(operation="create", customer_type="person", name="Nobody")
    _customer(events).update(created_offline=False, terminal_id=BROKEN_TERMINAL)


def event_id_malformed(events: people.CustomerEvents) -> None:
    """A till that counts its events instead of giving them an id."""
    customer = _customer(events)
    customer["event_id"] = f"till-9-{customer['event_id'][:8]}"


def account_of_another_company(events: people.CustomerEvents) -> None:
    """An account number that the channel's company never issued."""
    _customer(events)["account_number"] = "ZZ-000001"


def name_in_broken_utf8(events: people.CustomerEvents) -> None:
    """A name cut off in the middle of a letter."""
    _customer(events)["last_name"] = RawText("Müller".encode()[:2])


def name_as_blob(events: people.CustomerEvents) -> None:
    """Bytes where text belongs."""
    _customer(events)["first_name"] = b"\x00\x01Ann"


def first_name_too_long(events: people.CustomerEvents) -> None:
    """A first name of 61 letters; HQ takes 60."""
    _customer(events)["first_name"] = "A" * 61


def name_too_long(events: people.CustomerEvents) -> None:
    """A name of 301 letters; HQ takes 300."""
    _customer(events)["name"] = "Ann " * 75 + "L"


def county_too_long(events: people.CustomerEvents) -> None:
    """A county of 40 characters; HQ takes 10."""
    events["async_address"][0]["county"] = "County of the Very Long Name Along River"


def city_too_long(events: people.CustomerEvents) -> None:
    """A city of 61 letters; HQ takes 60."""
    events["async_address"][0]["city"] = "B" * 61


def postal_code_too_long(events: people.CustomerEvents) -> None:
    """A postal code of 11 digits; HQ takes 10."""
    events["async_address"][0]["postal_code"] = "12345678901"


def email_without_at(events: people.CustomerEvents) -> None:
    """An e-mail address that is none."""
    _customer(events)["email"] = "ann.example.com"


def birth_date_zero(events: people.CustomerEvents) -> None:
    """The birth date that some databases take for none."""
    _customer(events)["birth_date"] = "0000-00-00"


def birth_date_impossible(events: people.CustomerEvents) -> None:
    """29 February of a year that had none."""
    _customer(events)["birth_date"] = "2025-02-29"


def birth_date_in_year_10000(events: people.CustomerEvents) -> None:
    """A date that PostgreSQL and SQLite hold, but Python cannot."""
    _customer(events)["birth_date"] = "10000-01-01"


def birth_date_infinite(events: people.CustomerEvents) -> None:
    """PostgreSQL's date after all dates."""
    _customer(events)["birth_date"] = "infinity"


def birth_date_in_future(events: people.CustomerEvents) -> None:
    """A birth date to come, whenever HQ looks at it."""
    _customer(events)["birth_date"] = "2999-12-31"


def operation_unknown(events: people.CustomerEvents) -> None:
    """An operation that is none of the three."""
    _customer(events)["operation"] = "upsert"


def customer_type_unknown(events: people.CustomerEvents) -> None:
    """Neither a person nor an organization."""
    _customer(events)["customer_type"] = "robot"


def organization_without_name(events: people.CustomerEvents) -> None:
    """A company that nobody can call."""
    _customer(events).update(customer_type="organization", name=None, first_name=None)
    _customer(events).update(last_name=None, middle_name=None)


def country_unknown(events: people.CustomerEvents) -> None:
    """Three letters that are no country."""
    events["async_address"][0]["country"] = "WQZ"


def purpose_unknown(events: people.CustomerEvents) -> None:
    """An address for a purpose that HQ has no word for."""
    events["async_address"][0]["purpose"] = "holiday"


def contact_kind_unknown(events: people.CustomerEvents) -> None:
    """A contact by a medium that HQ does not know."""
    events["async_contact"][0]["kind"] = "fax"


def contact_without_locator(events: people.CustomerEvents) -> None:
    """A contact that leads nowhere."""
    events["async_contact"][0]["locator"] = None


# Odd, but right: HQ takes these exactly as they are, or waits


def consent_unknown(events: people.CustomerEvents) -> None:
    """Nobody asked whether advertising is welcome; that means no."""
    events["async_contact"][0]["marketing_opt_in"] = None


def two_primary_addresses(events: people.CustomerEvents) -> None:
    """Two primaries for one purpose: the later one wins."""
    for address in events["async_address"]:
        address.update(purpose="home", is_primary=True)


def customer_never_comes(events: people.CustomerEvents) -> None:
    """Addresses whose customer was never written: they wait."""
    events["async_customer"].clear()


def name_in_emoji(events: people.CustomerEvents) -> None:
    """A family, a flag and an ideograph outside the first plane."""
    _rename(events, FAMILY, f"{FLAG}{IDEOGRAPH}")


def name_as_script(events: people.CustomerEvents) -> None:
    """A name that a page must show and never run."""
    _rename(events, "<script>alert(1)</script>", "\"'><img src=x onerror=alert(1)>{{ 7*7 }}")


def name_in_chinese(events: people.CustomerEvents) -> None:
    """A name in Chinese characters."""
    _rename(events, "小明", "王")


def name_from_right_to_left(events: people.CustomerEvents) -> None:
    """A name in Arabic and Hebrew letters."""
    _rename(events, "ليلى", "כהן")


FAULTS = (
    Fault(guid_in_braces, "guid_format", SQLITE),
    Fault(guid_as_urn, "guid_format", SQLITE),
    Fault(guid_without_hyphens, "guid_format", SQLITE),
    Fault(guid_empty, "guid_format", SQLITE),
    Fault(guid_missing, "key_missing"),
    Fault(event_id_empty, "key_missing", SQLITE),
    Fault(event_id_malformed, "key_missing", SQLITE),
    Fault(account_of_another_company, "company_mismatch"),
    Fault(name_in_broken_utf8, "encoding", SQLITE),
    Fault(name_as_blob, "type", SQLITE),
    Fault(first_name_too_long, "too_long"),
    Fault(name_too_long, "too_long"),
    Fault(county_too_long, "too_long", table="async_address"),
    Fault(city_too_long, "too_long", table="async_address"),
    Fault(postal_code_too_long, "too_long", table="async_address"),
    Fault(email_without_at, "email_format"),
    Fault(birth_date_zero, engine=SQLITE),
    Fault(birth_date_impossible, engine=SQLITE),
    Fault(birth_date_in_year_10000),
    Fault(birth_date_infinite),
    Fault(birth_date_in_future),
    Fault(operation_unknown, "unknown_word"),
    Fault(customer_type_unknown, "unknown_word"),
    Fault(organization_without_name, "name_missing"),
    Fault(country_unknown, "country_unknown", table="async_address"),
    Fault(purpose_unknown, "unknown_word", table="async_address"),
    Fault(contact_kind_unknown, "unknown_word", table="async_contact"),
    Fault(contact_without_locator, "value_missing", table="async_contact"),
    Fault(consent_unknown, table="async_contact"),
    Fault(two_primary_addresses, table="async_address"),
    Fault(customer_never_comes, table="async_address"),
    Fault(name_in_emoji),
    Fault(name_as_script),
    Fault(name_in_chinese),
    Fault(name_from_right_to_left),
)


def _customer(events: people.CustomerEvents) -> people.EventRow:
    return events["async_customer"][0]


def _rename(events: people.CustomerEvents, first_name: str, last_name: str) -> None:
    _customer(events).update(
        customer_type="person",
        first_name=first_name,
        middle_name=None,
        last_name=last_name,
        name=f"{first_name} {last_name}",
    )
