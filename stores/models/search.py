"""Conditions of searches: for any rows, and for people by name, e-mail address or phone number.

Those for people call the SQL functions of `migrations/sql/search.sql`, which prepare both the
stored and the searched text. Customers and contacts have indexes on these functions. Staged events
do not.
"""

import re
from typing import Any
from unicodedata import normalize
from uuid import UUID

from django.contrib.postgres.fields import ArrayField
from django.db.models import BooleanField, Func, Q, QuerySet, TextField, Value
from django.db.models.functions import Lower
from django.db.models.lookups import Contains

from stores.values.characters import normalize_key, normalize_phone

PHONE_FORM = re.compile(
    r"[0-9+()./ xX#*,;-]+([ ;,]*"
    r"(ext|extn|extension|durchwahl|dw|poste|int|toestel|tst|ramal|anexo)[.:=]? *[0-9]+)?",
    re.IGNORECASE,
)
GUID_PATTERN = re.compile(
    r"(?:urn:uuid:)?\{?[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}\}?", re.I | re.ASCII
)
KEY_ARRAY = ArrayField(TextField())
# A shorter piece of a name has no trigram, so it is searched at the beginning of a word only.
MIN_PIECE_LENGTH = 3


def found_by_any(*searches: QuerySet[Any]) -> Q:
    """Condition: one of the searches finds the row. Each search uses an index of its own.

    Conditions on several tables that are joined by OR would read all rows.
    """
    first, *others = (search.order_by().values("pk") for search in searches)
    return Q(pk__in=first.union(*others))


def parse_guid(text: str) -> UUID | None:
    """The GUID in a text, in any case, with or without hyphens and braces. None for other texts."""
    text = normalize_key(text)
    return UUID(text) if GUID_PATTERN.fullmatch(text) else None


def contact_key(text: str) -> str:
    """The key that finds an e-mail address or a phone number. Empty for other texts."""
    text = normalize_key(text)
    # NFKC makes the full-width @ of East Asian keyboards a plain one.
    is_email = "@" in normalize("NFKC", text)
    return text if is_email else phone_digits(text)


def phone_digits(text: str) -> str:
    """The digits of a phone number. Empty for a text that is not one."""
    text = normalize_phone(text)
    digits = re.sub(r"[^0-9]", "", text)
    return digits if len(digits) >= 3 and PHONE_FORM.fullmatch(text) else ""


def matches_name(text: str) -> Q:
    """Condition: every word of a text is a part of the name."""
    name = Func(
        *("name", "first_name", "middle_name", "last_name"),
        function="search_name",
        output_field=TextField(),
    )
    words = [word for word in map(normalize_key, text.split()) if word]
    pieces = [word if len(word) >= MIN_PIECE_LENGTH else f" {word}" for word in words]
    return Q(*(Q(Contains(name, searchable(piece))) for piece in pieces))


def searchable(text: str) -> Func:
    """A text as `search_text` prepares it for a search."""
    return Func(Value(text), function="search_text", output_field=TextField())


def matches_own_contact(key: str) -> Q:
    """Condition: a key of contact_key() is the customer's own e-mail address or phone number."""
    return contains_key(
        Func("email", "receipt_email", "phone", function="reach_keys", output_field=KEY_ARRAY), key
    )


def matches_contact(key: str) -> Q:
    """Condition: a key of contact_key() is the locator of a contact."""
    return contains_key(
        Func("kind", "locator", function="contact_keys", output_field=KEY_ARRAY), key
    )


def contains_key(keys: Func, key: str) -> Q:
    """Condition: an array of keys contains this key."""
    normalized = Func(Value(key), function="normalize_email", output_field=TextField())
    return Q(
        Func(
            keys,
            array_of(Lower(normalized)),
            template="%(expressions)s",
            arg_joiner=" @> ",
            output_field=BooleanField(),
        )
    )


def array_of(text: Func) -> Any:
    """The SQL array with this text alone."""
    return Func(text, template="ARRAY[%(expressions)s]", output_field=KEY_ARRAY)
