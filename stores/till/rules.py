"""HQ's rules of values, checked before a till saves anything.

They are those of `stores.pipeline.events.rules`, in Python; a test compares both. Where HQ only
marks a field to be corrected later, the till refuses it: the customer is still at the counter.
"""

import re
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from django.utils import timezone

from stores.messages.labels import label
from stores.messages.reasons import explain
from stores.till.settings import TillSettings
from stores.values.characters import normalize_value
from stores.values.country import is_country
from stores.values.currency import CURRENCIES
from stores.values.language import is_language
from stores.values.patterns import EMAIL_FORM, PHONE_PATTERN, WORDS

Values = Mapping[str, Any]
EARLIEST_BIRTH_DATE = date(1900, 1, 1)
# What no database takes as part of a text: NUL, and halves of a character.
UNSTORABLE = re.compile("[\0\ud800-\udfff]")
UNPRINTABLE = re.compile("[\x01-\x1f\x7f-\x9f]")
NUMBER_FORMS = {
    "integer": r"[+-]?[0-9]{1,14}",
    "decimal": r"[+-]?[0-9]{1,14}([.][0-9]{1,4})?",
    "currency": r"[+-]?[0-9]{1,14}([.][0-9]{1,4})?",
}


def normalized(values: Values) -> dict[str, Any]:
    """The values as HQ keeps them: tidy texts, and None for what is empty."""
    return {column: normalized_value(column, value, values) for column, value in values.items()}


def normalized_value(column: str, value: Any, values: Values) -> Any:
    if not isinstance(value, str):
        return value
    return normalize_value(column, value, kind=values.get("kind")) or None


def problems_of(table: str, values: Values, settings: TillSettings) -> dict[str, str]:
    """A sentence for each wrong field of an event, by column; the values are normalized."""
    problems = dict(length_problems(table, values, settings))
    for column, code, allows in PROBLEMS[table](values, settings):
        problems.setdefault(column, sentence(code, column, allows))
    for column, value in values.items():
        if isinstance(value, str) and UNSTORABLE.search(value):
            problems[column] = sentence("unprintable", column)
    return problems


def sentence(code: str, column: str, allows: str = "") -> str:
    """What is wrong with a field, with its name and its rule."""
    text = explain(code, label(column)).removesuffix(".")
    return f"{text} ({allows})." if allows else f"{text}."


def length_problems(table: str, values: Values, settings: TillSettings) -> dict[str, str]:
    return {
        column: sentence("too_long", column, f"at most {longest} characters")
        for column, longest in settings.lengths(table).items()
        if isinstance(value := values.get(column), str)
        and len(value) > longest
        # Of words, the allowed ones are named.
        and column not in WORDS
    }


Problems = list[tuple[str, str, str]]


def customer_problems(values: Values, settings: TillSettings) -> Problems:
    found = wrong_words("customer_type", values)
    if values.get("customer_type") == "organization" and not values.get("name"):
        found.append(("name", "name_missing", ""))
    elif not any(values.get(column) for column in ("last_name", "first_name", "name")):
        found.append(("last_name", "name_missing", ""))
    for column in ("email", "receipt_email"):
        if (text := values.get(column)) and not re.match(EMAIL_FORM, text):
            found.append((column, "email_format", ""))
    if (phone := values.get("phone")) and not re.match(PHONE_PATTERN, phone, re.IGNORECASE):
        found.append(("phone", "phone_format", ""))
    if (language := values.get("language")) and not is_language(language):
        found.append(("language", "unknown_word", "a language such as en, en-us or es-419"))
    if (currency := values.get("currency")) and currency not in CURRENCIES:
        found.append(("currency", "unknown_word", "a currency of ISO 4217"))
    return found + wrong_birth_date(values.get("birth_date"))


def wrong_birth_date(value: Any) -> Problems:
    if not value:
        return []
    try:
        day = value if isinstance(value, date) else parse_day(value)
    except ValueError:
        return [("birth_date", "date_format", "such as 1990-03-01")]
    # Nobody is born tomorrow, wherever the store is.
    if EARLIEST_BIRTH_DATE <= day <= timezone.now().date():
        return []
    return [("birth_date", "date_range", "")]


def parse_day(text: str) -> date:
    # Python reads other forms as well, which the real-time service does not.
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII):
        raise ValueError
    return date.fromisoformat(text)


def address_problems(values: Values, settings: TillSettings) -> Problems:
    found = wrong_words("purpose", values)
    if (country := values.get("country")) and not is_country(country):
        found.append(("country", "country_unknown", ""))
    return found


def contact_problems(values: Values, settings: TillSettings) -> Problems:
    kind, locator = values.get("kind"), values.get("locator")
    if kind not in WORDS["kind"]:
        return [("kind", "unknown_word", in_words(WORDS["kind"]))]
    if not locator:
        return [("locator", "value_missing", "")]
    if kind == "email" and not re.match(EMAIL_FORM, locator):
        return [("locator", "email_format", "")]
    if kind == "phone" and not re.match(PHONE_PATTERN, locator, re.IGNORECASE):
        return [("locator", "phone_format", "")]
    return []


def affiliation_problems(values: Values, settings: TillSettings) -> Problems:
    return wrong_name("affiliation", values, settings.affiliations, settings)


def attribute_problems(values: Values, settings: TillSettings) -> Problems:
    found = wrong_name("attribute", values, settings.attributes, settings)
    definition = settings.attributes.get(values.get("attribute") or "")
    if definition and not is_allowed(values.get("value"), definition):
        found.append(("value", "attribute_invalid", allowed_values(definition)))
    return found


def wrong_words(column: str, values: Values) -> Problems:
    if (word := values.get(column)) and word not in WORDS[column]:
        return [(column, "unknown_word", in_words(WORDS[column]))]
    return []


def wrong_name(column: str, values: Values, defined: Values, settings: TillSettings) -> Problems:
    """What is wrong with the name of an affiliation or an attribute."""
    name = values.get(column)
    if not name:
        return [(column, "value_missing", "")]
    if UNPRINTABLE.search(name):
        return [(column, "unprintable", "")]
    if settings.knows_only_defined(column) and name not in defined:
        return [(column, f"{column}_unknown", in_words(sorted(defined)))]
    return []


def is_allowed(value: str | None, definition: Values) -> bool:
    """Whether an attribute may have a value, which is empty if it is None."""
    if value is None or (definition["options"] and value not in definition["options"]):
        return False
    data_type = definition["data_type"]
    if data_type == "boolean":
        return value in ("true", "false", "0", "1")
    if form := NUMBER_FORMS.get(data_type):
        return bool(re.fullmatch(form, value)) and is_in_range(Decimal(value), definition)
    return True


def is_in_range(number: Decimal, definition: Values) -> bool:
    smallest, largest = definition["smallest"], definition["largest"]
    return (smallest is None or number >= Decimal(smallest)) and (
        largest is None or number <= Decimal(largest)
    )


def allowed_values(definition: Values) -> str:
    if definition["options"]:
        return in_words(definition["options"])
    words = {"boolean": "true or false", "integer": "a whole number", "text": "a text"}
    text = words.get(definition["data_type"], "a number")
    if definition["smallest"] is not None:
        text += f", at least {definition['smallest']}"
    return text + (
        f", at most {definition['largest']}" if definition["largest"] is not None else ""
    )


def in_words(names: Any) -> str:
    *others, last = [*names] or ["none"]
    return f"{', '.join(others)} or {last}" if others else last


PROBLEMS: dict[str, Callable[[Values, TillSettings], Problems]] = {
    "async_customer": customer_problems,
    "async_address": address_problems,
    "async_contact": contact_problems,
    "async_affiliation": affiliation_problems,
    "async_attribute": attribute_problems,
}
