"""A form field for JSON."""

from typing import Any

from django import forms
from django.forms.fields import InvalidJSONInput


class JsonField(forms.JSONField):
    """A JSON field that refuses JSON that is too deep or has too large numbers for Python."""

    def to_python(self, value: Any) -> Any:
        try:
            return super().to_python(value)
        except (RecursionError, ValueError):
            raise forms.ValidationError(
                self.error_messages["invalid"], code="invalid", params={"value": "it"}
            ) from None

    def bound_data(self, data: Any, initial: Any) -> Any:
        try:
            return super().bound_data(data, initial)
        except (RecursionError, ValueError):
            return InvalidJSONInput(data)
