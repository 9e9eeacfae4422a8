"""The form that defines an attribute."""

from typing import Any

from django import forms

from stores.models import AttributeDefinition


class OptionsField(forms.Field):
    """A list of texts: one per line, or in a single line with commas between them."""

    widget = forms.Textarea

    def to_python(self, value: Any) -> list[str]:
        text = str(value or "")
        options = text.split("\n" if "\n" in text else ",")
        return [option.strip() for option in options if option.strip()]

    def prepare_value(self, value: Any) -> Any:
        if not isinstance(value, list):
            return value
        # The break at its end keeps the commas of a single option.
        return "".join(f"{option}\n" for option in value)


class AttributeDefinitionForm(forms.ModelForm):  # type: ignore[type-arg]
    options = OptionsField(
        required=False,
        widget=forms.Textarea({"rows": 5, "cols": 40}),
        help_text=(
            "The allowed values, one per line, or in one line with commas between them."
            " Empty: any value of the type."
        ),
    )

    class Meta:
        model = AttributeDefinition
        fields = ("company", "name", "data_type", "options", "smallest", "largest")
        help_texts = {
            "name": "As tills write it, for example SIZE.",
            "smallest": "The smallest value that is allowed; only for numbers. Empty: no limit.",
            "largest": "The largest value that is allowed; only for numbers. Empty: no limit.",
        }
