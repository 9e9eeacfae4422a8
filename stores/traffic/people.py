"""New customers as a till would write them: invented people and companies, rows per event table.

Equal `random.Random` streams give equal rows. Nobody in here exists: e-mail ends in example.*, and
phone numbers lie in ranges that no operator gives out.
"""

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache, lru_cache
from itertools import accumulate
from random import Random
from typing import Any

from stores.pipeline.events.kinds import EVENT_KINDS
from stores.traffic.store import Store

EventRow = dict[str, Any]
# Rows of one customer by event table, parents first.
CustomerEvents = dict[str, list[EventRow]]

CUSTOMER_EVENT_TABLES = tuple(kind.event for kind in EVENT_KINDS)
STAMP = (
    "occurred_at",
    "operation",
    "async_account",
    "account_number",
    "staff_id",
    "terminal_id",
    "created_offline",
)
AFFILIATIONS = ("LOYALTY", "STUDENT", "SENIOR", "NEIGHBOUR", "STAFF")
ATTRIBUTES: dict[str, Sequence[str]] = {
    "shoe_size": ("36", "38", "40", "41", "42", "43", "45"),
    "newsletter": ("weekly", "monthly", "never"),
    "favourite_colour": ("blue", "green", "red", "black"),
    "gift_wrap": ("yes", "no"),
    "how_found": ("window", "friend", "web", "leaflet"),
}
MAIL_DOMAINS = ("example.com", "example.nl", "example.org")
PURPOSES = ("delivery", "invoice", "other")
POOL_SIZE = 2_000


class FakerMissing(Exception):
    """Making up customers needs the package faker: pip install 'syncline[embedded]'."""

    def __str__(self) -> str:
        return self.__doc__ or ""


@dataclass(frozen=True)
class Country:
    """What names and addresses of one country are combined from."""

    code: str
    language: str
    titles: Sequence[str]
    first_names: Sequence[str]
    last_names: Sequence[str]
    companies: Sequence[str]
    streets: Sequence[str]
    cities: Sequence[str]
    states: Sequence[str]


@cache
def netherlands() -> Country:
    provinces = ("DR", "FL", "FR", "GE", "GR", "LI", "NB", "NH", "OV", "UT", "ZE", "ZH")
    return _country("nl_NL", "NLD", "nl-NL", ("Dr.", "Drs.", "Ir."), provinces)


@cache
def united_states() -> Country:
    states = ("CA", "CO", "GA", "IL", "NY", "OR", "TX", "VA", "WA")
    return _country("en_US", "USA", "en-US", ("Dr.", "Prof."), states)


def _country(
    locale: str, code: str, language: str, titles: Sequence[str], states: Sequence[str]
) -> Country:
    try:
        from faker import Faker
    except ImportError:
        raise FakerMissing from None
    fake = Faker(locale)
    fake.seed_instance(1010)
    return Country(
        code=code,
        language=language,
        titles=titles,
        first_names=_draw(fake.first_name),
        last_names=_draw(fake.last_name),
        companies=_draw(fake.company),
        streets=_draw(fake.street_name),
        cities=_draw(fake.city),
        states=states,
    )


def _draw(make: Callable[[], str]) -> list[str]:
    return [make() for _ in range(POOL_SIZE)]


def make_guid(rng: Random) -> str:
    """A random (version 4) GUID in its canonical form."""
    digits = f"{rng.getrandbits(128):032x}"
    variant = "89ab"[int(digits[16], 16) % 4]
    head = f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}"
    return f"{head}-{variant}{digits[17:20]}-{digits[20:]}"


def new_customer(rng: Random, store: Store, occurred_at: str) -> CustomerEvents:
    """Everything a till saves for a new customer, in one go."""
    country = home_country(rng, store)
    stamp = make_stamp(rng, occurred_at, make_guid(rng))
    customer = _organization(rng, country) if rng.random() < 0.1 else _person(rng, country)
    business = customer["customer_type"] == "organization"
    affiliations = rng.sample(AFFILIATIONS, _count(rng, 0.6, 0.3, 0.1))
    attributes = rng.sample(tuple(ATTRIBUTES), _count(rng, 0.35, 0.4, 0.15, 0.1))
    addresses = [
        make_address(rng, country, number, business=business)
        for number in range(_count(rng, 0, 0.75, 0.2, 0.05))
    ]
    contacts = [
        make_contact(rng, country, customer, number)
        for number in range(_count(rng, 0.25, 0.5, 0.25))
    ]
    customer |= {"currency": store.currency, "customer_group": "B2B" if business else "RETAIL"}
    return {
        "async_customer": [make_event_row(rng, stamp, customer)],
        "async_address": [make_event_row(rng, stamp, address) for address in addresses],
        "async_contact": [make_event_row(rng, stamp, contact) for contact in contacts],
        "async_affiliation": [
            make_event_row(rng, stamp, {"affiliation": word}) for word in affiliations
        ],
        "async_attribute": [
            make_event_row(rng, stamp, {"attribute": word, "value": rng.choice(ATTRIBUTES[word])})
            for word in attributes
        ],
    }


def home_country(rng: Random, store: Store) -> Country:
    """Where a customer of the store lives: mostly around the corner, if we know the corner."""
    dutch = {"NLD": 0.85, "USA": 0.15}.get(store.country, 0.5)
    return netherlands() if rng.random() < dutch else united_states()


def make_stamp(
    rng: Random,
    occurred_at: str,
    async_account: str | None,
    account_number: str | None = None,
    operation: str = "create",
) -> EventRow:
    """When, what, where and by whom: the columns that all events of one save share."""
    return {
        "occurred_at": occurred_at,
        "operation": operation,
        "async_account": async_account,
        "account_number": account_number,
        "staff_id": f"S{rng.randint(1, 12):04}",
        "terminal_id": f"T{rng.randint(1, 4):02}",
        "created_offline": rng.random() < 0.05,
    }


def make_event_row(rng: Random, stamp: EventRow, content: EventRow) -> EventRow:
    return {"event_id": make_guid(rng)} | stamp | content


def make_phone(rng: Random, country: str) -> str:
    """A phone number that nobody can have: the +31 6 0 range and 555-01xx are not given out."""
    if country == "NLD":
        return f"+31 6 0{rng.randrange(10_000_000):07}"
    return f"+1 {rng.choice((212, 281, 303, 404, 503, 713, 832))} 555 01{rng.randrange(100):02}"


def make_email(rng: Random, *words: str) -> str:
    """An address at example.*, which never reaches a mailbox."""
    return f"{'.'.join(map(_ascii_name, words))}{rng.randrange(10_000)}@{rng.choice(MAIL_DOMAINS)}"


def make_address(rng: Random, country: Country, number: int, *, business: bool) -> EventRow:
    """The customer's address `number`; number 0 is where mail goes."""
    main = "business" if business else "home"
    dutch = country.code == "NLD"
    return {
        "address_id": make_guid(rng),
        "purpose": main if number == 0 else PURPOSES[number - 1],
        "description": rng.choice((None, "Main address", "Ring twice")) if number == 0 else None,
        "street": rng.choice(country.streets),
        "street_number": f"{rng.randint(1, 250)}{rng.choice(('', '', '', 'a', 'b'))}",
        "building": rng.choice((None, None, None, "Unit 2", "Floor 3")),
        "city": rng.choice(country.cities),
        "county": None if dutch else rng.choice((None, "Harris", "King", "Fulton")),
        "state": rng.choice(country.states),
        "postal_code": _dutch_postcode(rng) if dutch else f"{rng.randint(10_000, 99_999)}",
        "country": country.code,
        "is_primary": number == 0,
    }


def make_contact(rng: Random, country: Country, customer: EventRow, number: int) -> EventRow:
    """A second way to reach the customer, with or without consent to advertise."""
    kind = rng.choice(("email", "email", "phone", "phone", "url"))
    names = (customer["first_name"] or "info", customer["last_name"] or customer["name"])
    locators = {
        "email": lambda: make_email(rng, *names),
        "phone": lambda: make_phone(rng, country.code),
        "url": lambda: f"https://www.example.org/{_ascii_name(names[1])}",
    }
    return {
        "contact_id": make_guid(rng),
        "kind": kind,
        "locator": locators[kind](),
        "description": rng.choice((None, "Private", "Work")),
        "is_primary": number == 0,
        "marketing_opt_in": rng.choice((True, True, False, False, None)),
    }


def _person(rng: Random, country: Country) -> EventRow:
    first, last = rng.choice(country.first_names), rng.choice(country.last_names)
    # "van der Berg" is filed under B: what stands before is the middle name.
    *before, last = last.split(" ") if country.code == "NLD" else (last,)
    middle = " ".join(before) or None
    email = make_email(rng, first, last) if rng.random() < 0.85 else None
    birth_date = date(1936, 1, 1) + timedelta(days=rng.randrange(26_000))
    return {
        "customer_type": "person",
        "first_name": first,
        "middle_name": middle,
        "last_name": last,
        "name": " ".join(part for part in (first, middle, last) if part),
        "title": rng.choice(country.titles) if rng.random() < 0.1 else None,
        "language": country.language,
        "email": email,
        "phone": make_phone(rng, country.code) if rng.random() < 0.8 else None,
        "receipt_email": email if rng.random() < 0.3 else None,
        "vat_number": None,
        "birth_date": birth_date.isoformat() if rng.random() < 0.6 else None,
    }


def _organization(rng: Random, country: Country) -> EventRow:
    name = rng.choice(country.companies)
    dutch = country.code == "NLD"
    return {
        "customer_type": "organization",
        "first_name": None,
        "middle_name": None,
        "last_name": None,
        "name": name,
        "title": None,
        "language": country.language,
        "email": make_email(rng, "info", name),
        "phone": make_phone(rng, country.code),
        "receipt_email": make_email(rng, "invoices", name),
        "vat_number": f"NL{rng.randrange(10**9):09}B{rng.randint(1, 99):02}" if dutch else None,
        "birth_date": None,
    }


def _count(rng: Random, *shares: float) -> int:
    # How many, when `shares` says how often there are 0, 1, 2, …
    drawn = rng.random()
    return next(
        (number for number, upto in enumerate(accumulate(shares)) if drawn < upto), len(shares) - 1
    )


def _dutch_postcode(rng: Random) -> str:
    letters = "ABCDEGHJKLMNPRSTVWXZ"
    return f"{rng.randint(1000, 9999)} {rng.choice(letters)}{rng.choice(letters)}"


@lru_cache(maxsize=10_000)
def _ascii_name(name: str) -> str:
    # Letters a mailbox may have: no accents, no blanks, no signs.
    bare = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return "".join(filter(str.isalnum, bare))
