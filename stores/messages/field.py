"""The column that stores a message."""

from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.fields.json import KeyTransform

from stores.messages.message import Message

# An array of objects, each with a code and its parameters.
IS_MESSAGE = """jsonb_path_match({column}, '$.type() == "array"
    && !exists($[*].type() ? (@ != "object"))
    && !exists($[*] ? (!exists(@.code ? (@.type() == "string"))
                       || !exists(@.params ? (@.type() == "object"))))')"""


if TYPE_CHECKING:
    JSONField = models.JSONField[Message, Message]
else:
    # Django's field classes take no type arguments when the program runs.
    JSONField = models.JSONField


class MessageField(JSONField):
    """Stores a Message as JSON; the column's constraint refuses anything else. Empty by default."""

    def __init__(self, **options: Any) -> None:
        # Whatever a migration says of it, these are its own.
        options |= {"default": Message, "blank": True, "editable": False}
        super().__init__(**options)

    def deconstruct(self) -> Any:
        name, path, args, options = super().deconstruct()
        for option in ("default", "blank", "editable"):
            del options[option]
        return name, path, args, options

    def db_check(self, connection: BaseDatabaseWrapper) -> str:
        return IS_MESSAGE.format(column=connection.ops.quote_name(str(self.column)))

    def from_db_value(self, value: Any, expression: Any, connection: BaseDatabaseWrapper) -> Any:
        data = super().from_db_value(value, expression, connection)
        # Of a key in the message there is a value of JSON, and of a row left out nothing.
        is_part = data is None or isinstance(expression, KeyTransform)
        return data if is_part else Message.from_data(data)

    def get_prep_value(self, value: Any) -> Any:
        return super().get_prep_value(value.data if isinstance(value, Message) else value)

    def to_python(self, value: Any) -> Any:
        return value if isinstance(value, Message) else Message.from_data(value)

    def validate(self, value: Message, model_instance: models.Model | None) -> None:
        super().validate(value.data, model_instance)

    def value_to_string(self, obj: models.Model) -> Any:
        return self.value_from_object(obj).data
