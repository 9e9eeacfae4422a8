"""How people are found: by a part of their name, or by their exact e-mail address or phone number.

The conditions call SQL functions of migration 0007, whose indexes on customers and their contacts
serve them at any size; staged events have the same columns, but no such index.
"""

import re
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db.models import BooleanField, Func, Q, TextField, Value
from django.db.models.functions import Lower
from django.db.models.lookups import Contains

# A shorter piece has no trigram of its own, so it must begin a word.
SHORTEST_PIECE = 3


def key_of(text: str) -> str:
    """The key that an e-mail address or a phone number is looked up by; empty for other texts."""
    text = text.strip()
    return text if "@" in text else digits_of(text)


def digits_of(text: str) -> str:
    """The digits of what may be a phone number, or nothing if letters stand between them."""
    digits = re.sub(r"\D", "", text, flags=re.ASCII)
    return digits if len(digits) >= 3 and re.fullmatch(r"[0-9+()./ xX#*-]+", text) else ""


def is_called(text: str) -> Q:
    """Every word of a text is a part of the name."""
    name = Func(
        *("name", "first_name", "middle_name", "last_name"),
        function="search_name",
        output_field=TextField(),
    )
    pieces = [word if len(word) >= SHORTEST_PIECE else f" {word}" for word in text.split()]
    return Q(*(Q(Contains(name, Lower(Value(piece)))) for piece in pieces))


def is_reached_at(key: str) -> Q:
    """An e-mail address in any case, or the digits of a phone number, is the customer's own."""
    return has_key(
        Func("email", "receipt_email", "phone", function="reach_keys", output_field=KEYS), key
    )


def is_contact_at(key: str) -> Q:
    """The same of a contact."""
    return has_key(Func("kind", "locator", function="contact_keys", output_field=KEYS), key)


KEYS = ArrayField(TextField())


def has_key(keys: Func, key: str) -> Q:
    """One of the keys is the one looked for."""
    wanted: Any = Func(Lower(Value(key)), template="ARRAY[%(expressions)s]", output_field=KEYS)
    return Q(
        Func(
            keys, wanted, template="%(expressions)s", arg_joiner=" @> ", output_field=BooleanField()
        )
    )
