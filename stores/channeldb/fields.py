"""Model fields that read and write the contract's form of a value on both engines.

PostgreSQL has native types, and Django's own fields do there. On SQLite Django would write a uuid
without hyphens, a time without its zone and money as a floating number; the contract's form is
36-character lower-case text, ISO 8601 with offset, and exact text. Dates, booleans and JSON need
nothing of their own. Reading is strict: whoever wants rows with faults reads them raw.

Django's field classes take no type arguments when the program runs, hence the ignored type-arg.
"""

import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

QUANTUM = Decimal("0.0001")
CANONICAL_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
CANONICAL_TIME = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)", re.ASCII
)
CANONICAL_MONEY = re.compile(r"-?\d{1,14}(\.\d{1,4})?", re.ASCII)


class UnreadableValue(ValueError):
    """A column holds a value that is not in the contract's form."""


def native(connection: BaseDatabaseWrapper) -> bool:
    """Whether the engine knows these types by itself."""
    return connection.vendor == "postgresql"


class ChannelField(models.Field):  # type: ignore[type-arg]
    """What the three fields share; Django's converters stay out because the type is our own."""

    form: re.Pattern[str]
    types: dict[str, str]

    def get_internal_type(self) -> str:
        """A name that Django has no converter for."""
        return type(self).__name__

    def db_type(self, connection: BaseDatabaseWrapper) -> str:
        return self.types[connection.vendor]

    def from_db_value(self, value: Any, _expression: Any, connection: BaseDatabaseWrapper) -> Any:
        """Read strictly. Errors: UnreadableValue, which names the column and not the value."""
        if value is None or native(connection):
            return value
        if not isinstance(value, str) or not self.form.fullmatch(value):
            raise UnreadableValue(f"{self.column} is not in the form of the contract")
        return self.read(value)

    def get_db_prep_value(
        self, value: Any, connection: BaseDatabaseWrapper, prepared: bool = False
    ) -> Any:
        value = value if prepared else self.get_prep_value(value)
        return value if value is None or native(connection) else self.write(value)

    def read(self, text: str) -> Any:
        raise NotImplementedError

    def write(self, value: Any) -> str:
        raise NotImplementedError


class ChannelUUIDField(ChannelField, models.UUIDField):  # type: ignore[type-arg]
    """A uuid; on SQLite 36 characters in lower case."""

    form = CANONICAL_UUID
    types = {"postgresql": "uuid", "sqlite": "text"}

    def read(self, text: str) -> UUID:
        return UUID(text)

    def write(self, value: UUID) -> str:
        return str(value)


class ChannelTimeField(ChannelField, models.DateTimeField):  # type: ignore[type-arg]
    """A moment; on SQLite ISO 8601 with offset, in UTC, so that our own texts sort by time."""

    form = CANONICAL_TIME
    types = {"postgresql": "timestamp with time zone", "sqlite": "text"}

    def get_prep_value(self, value: Any) -> Any:
        """Refuse a moment without a zone: it is no moment. Errors: ValueError."""
        value = self.to_python(value)
        if value is not None and value.tzinfo is None:
            raise ValueError(f"{self.column} needs a time with a zone")
        return value

    def read(self, text: str) -> datetime:
        """Parse ISO 8601. Errors: UnreadableValue for a day or hour that does not exist."""
        try:
            return datetime.fromisoformat(text)
        except ValueError:
            raise UnreadableValue(f"{self.column} is not a time") from None

    def write(self, value: datetime) -> str:
        """Always with six digits of fraction, so that texts of one length compare."""
        return value.astimezone(UTC).isoformat(timespec="microseconds")


class ChannelMoneyField(ChannelField, models.DecimalField):  # type: ignore[type-arg]
    """An amount or quantity, exact to four places; on SQLite text, never a floating number."""

    form = CANONICAL_MONEY
    types = {"postgresql": "numeric(18, 4)", "sqlite": "text"}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"max_digits": 18, "decimal_places": 4} | kwargs)

    def get_prep_value(self, value: Any) -> Any:
        """Refuse what would have to be rounded. Errors: ValueError; ValidationError for a NaN."""
        value = self.to_python(value)
        if value is None:
            return None
        if abs(value) >= 10**14 or value != value.quantize(QUANTUM):
            raise ValueError(f"{self.column} takes 14 digits and 4 places")
        return value.quantize(QUANTUM)

    def read(self, text: str) -> Decimal:
        return Decimal(text)

    def write(self, value: Decimal) -> str:
        """Four places, no exponent."""
        return format(value, "f")


class ChannelCounterField(models.BigIntegerField):  # type: ignore[type-arg]
    """A number that the database itself gives; never written, read after a refresh."""

    generated = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"unique": True, "editable": False, "null": True} | kwargs)
