"""Find customers in the till's database, those who look alike, and say when an account is due."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.utils import timezone

from stores.messages.labels import counted
from stores.till.counter import OpenTill, Row, as_uuid
from stores.till.refusals import UnknownCustomer
from stores.values.characters import normalize_email, normalize_key, normalize_phone
from stores.values.patterns import PHONE_PATTERN

MAX_FOUND, MAX_ALIKE = 20, 5
# Of so many of the newest accounts, the one in the middle says how long they take.
COMPARED_WAITS = 5
# So many last digits of a phone number tell people apart; countries write the first ones in
# different ways. Fewer digits than the minimum are no number of a person.
COMPARED_DIGITS, MIN_DIGITS = 9, 6
# How the till names a customer without an account: by the place of the first event in its database,
# and by the register whose database that is.
PENDING = re.compile("(?:(.+)/)?pending-([1-9][0-9]{0,17})")
LOOKUP = """SELECT display_account, company, account_number, async_account, name, first_name,
                   last_name, email, phone, is_pending,
                   (SELECT min(event.replication_counter) FROM async_customer event
                     WHERE event.async_account = customer.async_account) AS first_event
              FROM customer_lookup customer"""
DIGITS = "coalesce(phone, '')"
for _letter in " -()./+":
    DIGITS = f"replace({DIGITS}, '{_letter}', '')"


@dataclass(frozen=True)
class Found:
    """A customer as the till's database knows the person."""

    display_account: str
    company: str | None
    account_number: str | None
    async_account: UUID | None
    name: str
    email: str
    phone: str
    is_pending: bool
    ref: str

    @property
    def owner(self) -> dict[str, Any]:
        """The columns by which an event says whose it is. Errors: UnknownCustomer."""
        if self.account_number:
            return {"account_number": self.account_number}
        if self.async_account is None:
            raise UnknownCustomer("Another till has saved this customer in a form of its own.")
        return {"async_account": self.async_account}

    @property
    def document(self) -> dict[str, Any]:
        """What a person at the till may read."""
        return {
            "ref": self.ref,
            "display_account": self.display_account,
            "account_number": self.account_number,
            "name": self.name,
            "email": self.email or None,
            "phone": self.phone or None,
            "is_pending": self.is_pending,
        }


@dataclass(frozen=True)
class LookAlike:
    """A customer whom somebody else may have created already, and why."""

    found: Found
    reasons: Sequence[str]

    def __str__(self) -> str:
        reasons = " and ".join(self.reasons)
        return f"Same {reasons}: {self.found.name} ({self.found.display_account})."


def search(opened: OpenTill, text: str) -> list[Found]:
    """Customers by account number, e-mail, phone number or part of the name, at most 20."""
    name = normalize_key(text).lower()
    if not name or "\0" in name:
        return []
    if PENDING.fullmatch(name):
        return with_ref(opened, name)
    conditions = [
        "account_number = %s",
        f"{opened.lower('email')} = %s",
        f"{opened.lower('name')} LIKE %s ESCAPE '!'",
    ]
    values = [normalize_key(text), normalize_email(text).lower(), f"%{as_pattern(name)}%"]
    digits = digits_of(text)
    if len(digits) >= MIN_DIGITS:
        conditions.append(f"{DIGITS} LIKE %s")
        values.append(f"%{digits}")
    return select(opened, " OR ".join(conditions), values, "ORDER BY name", MAX_FOUND)


def find(opened: OpenTill, text: str) -> Found:
    """The customer whom a text names, and nobody who is only like it. Errors: UnknownCustomer.

    That is an account number, a ref of a pending customer, or a whole e-mail or phone number.
    """
    return only(with_ref(opened, text) or with_contact(opened, text))


def by_ref(opened: OpenTill, ref: str) -> Found:
    """The customer with an account number, or with the ref of a pending one.

    Errors: UnknownCustomer.
    """
    return only(with_ref(opened, ref))


def only(found: list[Found]) -> Found:
    if not found:
        raise UnknownCustomer(
            "This channel knows no customer with this account number, e-mail or phone. One created"
            " elsewhere comes with job 1010."
        )
    if len(found) > 1:
        raise UnknownCustomer("Several customers have this: enter the account number.")
    return found[0]


def with_ref(opened: OpenTill, ref: str) -> list[Found]:
    """The customer with an account number, or with a ref such as `pending-1`, if there is one.

    Errors: UnknownCustomer, if the ref is of another database: there it is another person.
    """
    ref = normalize_key(ref)
    if "\0" in ref:
        return []
    pending = PENDING.fullmatch(ref.lower())
    if not pending:
        return select(opened, "account_number = %s", [ref])
    if (pending[1] or "") != opened.register.lower():
        place = f"register {pending[1]}" if pending[1] else "the channel itself"
        raise UnknownCustomer(
            f"{ref} is a customer in the database of {place}: find the customer by name here."
        )
    rows = opened.fetch(
        """SELECT async_account FROM async_customer
            WHERE replication_counter = %s AND async_account IS NOT NULL""",
        int(pending[2]),
    )
    return of_guid(opened, rows[0]["async_account"]) if rows else []


def with_contact(opened: OpenTill, text: str) -> list[Found]:
    """The customers with this e-mail or phone number, which must be whole."""
    if "\0" in text:
        return []
    if "@" in text:
        return select(opened, f"{opened.lower('email')} = %s", [normalize_email(text).lower()])
    phone = normalize_phone(text)
    if not re.match(PHONE_PATTERN, phone, re.IGNORECASE) or len(digits_of(phone)) < MIN_DIGITS:
        return []
    return select(opened, f"{DIGITS} = %s", [digits_of(phone)])


def of_guid(opened: OpenTill, guid: Any) -> list[Found]:
    """The customer of a GUID: by the account, where this database knows it."""
    rows = opened.fetch(
        "SELECT company, account_number FROM account_map WHERE async_account = %s", str(guid)
    )
    if rows:
        values = [rows[0]["company"], rows[0]["account_number"]]
        return select(opened, "company = %s AND account_number = %s", values)
    return select(opened, "is_pending AND async_account = %s", [str(guid)])


def select(
    opened: OpenTill, condition: str, values: Sequence[Any], order: str = "", limit: int = MAX_FOUND
) -> list[Found]:
    rows = opened.fetch(f"{LOOKUP} WHERE {condition} {order} LIMIT {limit}", *values)
    return [found_of(opened, row) for row in rows]


def found_of(opened: OpenTill, row: Row) -> Found:
    place = f"{opened.register}/" if opened.register else ""
    return Found(
        row["display_account"],
        row["company"],
        row["account_number"],
        as_uuid(row["async_account"]),
        row["name"] or "",
        row["email"] or "",
        row["phone"] or "",
        bool(row["is_pending"]),
        row["account_number"] or f"{place}pending-{row['first_event']}",
    )


def as_pattern(text: str) -> str:
    """The text for LIKE, whose signs it may contain."""
    return re.sub("([!%_])", r"!\1", text)


def digits_of(text: str) -> str:
    return re.sub("[^0-9]", "", normalize_phone(text))


# ------------------------------------------------------------------------------ look-alikes


def look_alikes(
    opened: OpenTill, values: Mapping[str, Any], postal_code: str | None = None
) -> list[LookAlike]:
    """Customers with the same phone, the same e-mail, or the same name and postal code."""
    found: dict[str, tuple[Found, list[str]]] = {}
    for reason, rows in alike(opened, values, postal_code):
        for one in rows:
            found.setdefault(one.ref, (one, []))[1].append(reason)
    return [LookAlike(one, reasons) for one, reasons in found.values()][:MAX_ALIKE]


def alike(
    opened: OpenTill, values: Mapping[str, Any], postal_code: str | None
) -> Iterator[tuple[str, list[Found]]]:
    digits = digits_of(values.get("phone") or "")[-COMPARED_DIGITS:]
    if len(digits) >= MIN_DIGITS:
        yield "phone", select(opened, f"{DIGITS} LIKE %s", [f"%{digits}"], limit=MAX_ALIKE)
    if email := normalize_email(values.get("email") or "").lower():
        condition = f"{opened.lower('email')} = %s"
        yield "e-mail", select(opened, condition, [email], limit=MAX_ALIKE)
    name = full_name(values).lower()
    if name and (postal_code := (postal_code or "").replace(" ", "").upper()):
        condition = f"{opened.lower('name')} = %s AND {LIVES_THERE}"
        yield (
            "name and postal code",
            select(opened, condition, [name, postal_code, postal_code], limit=MAX_ALIKE),
        )


LIVES_THERE = """
         (EXISTS (SELECT 1 FROM customer_address address
                  WHERE address.company = customer.company AND address.is_active
                    AND address.account_number = customer.account_number
                    AND upper(replace(address.postal_code, ' ', '')) = %s)
         OR EXISTS (SELECT 1 FROM async_address event
                     WHERE (event.async_account = customer.async_account
                            OR event.account_number = customer.account_number)
                       AND event.operation <> 'deactivate'
                       AND upper(replace(event.postal_code, ' ', '')) = %s))"""


def full_name(values: Mapping[str, Any]) -> str:
    """The name of a customer, composed of a person's names if there is none."""
    parts = (values.get(column) for column in ("first_name", "middle_name", "last_name"))
    return values.get("name") or " ".join(part for part in parts if part)


# ------------------------------------------------------------------------------ expectation


def expectation(opened: OpenTill, found: Found) -> str:
    """When to expect the account of a pending customer, from what this database says."""
    if opened.till.is_offline and opened.till.register is not None:
        return (
            "The account comes once this register is online again and headquarters has fetched"
            " the customer."
        )
    fetched_at, wait = fetched(opened, found), usual_wait(opened)
    if fetched_at is None:
        state, start = "Headquarters has not fetched the customer yet.", "Once it has, the account"
    else:
        state, start = "Headquarters has the customer, and job 1010 brings the account.", "That"
    if wait is None:
        return f"{state} Expect the account after the next P-job, conversion and 1010."
    is_due = fetched_at is not None and timezone.now() - fetched_at > wait
    return f"{state} {start} usually takes {in_words(wait)}{', so it is due' if is_due else ''}."


def fetched(opened: OpenTill, found: Found) -> datetime | None:
    """When headquarters fetched a customer; None if it has not."""
    rows = opened.fetch(
        """SELECT acknowledged_at FROM async_customer
            WHERE async_account = %s ORDER BY replication_counter LIMIT 1""",
        str(found.async_account),
    )
    return moment(rows[0]["acknowledged_at"]) if rows else None


def usual_wait(opened: OpenTill) -> timedelta | None:
    """How long accounts took of late, from headquarters' fetching the customer; None if unknown.

    Headquarters wrote both times. When a customer was saved is not one of them: a till may write
    any time.
    """
    rows = opened.fetch(
        f"""SELECT event.acknowledged_at, map.received_at
             FROM async_customer event
             JOIN account_map map ON map.async_account = event.async_account
            WHERE event.operation = 'create'
            ORDER BY event.replication_counter DESC LIMIT {COMPARED_WAITS}"""  # noqa: S608
    )
    times = [(moment(row["acknowledged_at"]), moment(row["received_at"])) for row in rows]
    # Of a customer of the real-time service, the account may come before the P-job does.
    waits = [come - fetched for fetched, come in times if fetched and come and come >= fetched]
    return sorted(waits)[len(waits) // 2] if waits else None


def moment(value: Any) -> datetime | None:
    """A time as an engine gives it, or its text; None if another till has written none."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def in_words(span: timedelta) -> str:
    seconds = round(span.total_seconds())
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= 2 * length:
            return counted(round(seconds / length), unit)
    return counted(max(seconds, 1), "second")


# ---------------------------------------------------------------------------- what it holds


def current_state(opened: OpenTill, found: Found, columns: Sequence[str]) -> tuple[Row, int | None]:
    """The newest state of a customer that this database knows, and what it is based on.

    That is headquarters' row with its version. But an event of this database is newer, with the
    version on which it was based, until job 1010 has brought a version that may contain it.
    """
    # Dates as texts: another till may have written one that Python cannot hold.
    names = ", ".join(f"CAST({one} AS text) AS {one}" for one in columns)
    known = opened.fetch(
        f"SELECT {names}, hq_version FROM customer WHERE company = %s AND account_number = %s",  # noqa: S608
        found.company,
        found.account_number,
    )
    own = opened.fetch(
        f"""SELECT {names}, based_on, acknowledged_at,
                   (SELECT max(applied_at) FROM applied_session WHERE job = '1010') AS brought_at
              FROM async_customer event
             WHERE (async_account IN (SELECT async_account FROM account_map
                                       WHERE company = %s AND account_number = %s)
                    OR account_number = %s OR async_account = %s) AND operation <> 'deactivate'
             ORDER BY replication_counter DESC LIMIT 1""",  # noqa: S608 - our own names
        found.company,
        found.account_number,
        found.account_number,
        str(found.async_account) if found.async_account else None,
    )
    version = known[0].pop("hq_version") if known else None
    for row in own:
        fetched, brought = moment(row.pop("acknowledged_at")), moment(row.pop("brought_at"))
        based_on = row.pop("based_on")
        if not isinstance(based_on, int):
            based_on = None
        may_contain_it = version is not None and (based_on is None or version > based_on)
        if not may_contain_it or fetched is None or brought is None or brought < fetched:
            return row, based_on
    return (known[0] if known else dict.fromkeys(columns)), version


def addresses_of(opened: OpenTill, found: Found) -> list[Row]:
    """The active addresses of a customer, newest last: headquarters' and those entered here."""
    columns = "address_id, purpose, street, street_number, postal_code, city, country"
    rows: dict[str, Row] = {}
    for row in opened.fetch(
        f"""SELECT {columns}, is_active FROM customer_address
             WHERE company = %s AND account_number = %s""",  # noqa: S608 - our own names
        found.company,
        found.account_number,
    ):
        rows[str(row["address_id"])] = row
    for row in opened.fetch(
        f"""SELECT {columns}, operation <> 'deactivate' AS is_active FROM async_address event
             WHERE async_account IN (SELECT async_account FROM account_map
                                      WHERE company = %s AND account_number = %s)
                OR account_number = %s OR async_account = %s
             ORDER BY replication_counter""",  # noqa: S608 - our own names
        found.company,
        found.account_number,
        found.account_number,
        str(found.async_account) if found.async_account else None,
    ):
        rows[str(row["address_id"])] = row
    return [row for row in rows.values() if row["is_active"]]


def attribute_of(opened: OpenTill, found: Found, name: str) -> str | None:
    """The value of an attribute of a customer, or None."""
    rows = opened.fetch(
        """SELECT value FROM customer_attribute
            WHERE company = %s AND account_number = %s AND attribute = %s AND is_active""",
        found.company,
        found.account_number,
        name,
    )
    own = opened.fetch(
        """SELECT value, operation FROM async_attribute
            WHERE attribute = %s AND (account_number = %s OR async_account = %s)
            ORDER BY replication_counter DESC LIMIT 1""",
        name,
        found.account_number,
        str(found.async_account) if found.async_account else None,
    )
    for row in own:
        return row["value"] if row["operation"] != "deactivate" else None
    return rows[0]["value"] if rows else None
