"""How a till says no: why, and when it will work. Nothing has been stored then."""

from collections.abc import Mapping


class Refused(Exception):
    """The till does not do it. The message is for the person at the till."""


class InvalidValues(Refused):
    """Values break rules of headquarters. `fields` has a sentence for each, by column."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        self.fields = dict(fields)
        super().__init__(" ".join(("Nothing was saved.", *self.fields.values())))


class UnknownCustomer(Refused):
    """The database of the till has no such customer, or several."""
