"""The form that sets a parameter."""

from typing import Any

from django import forms

from stores.models import Parameter
from stores.models.parameter import RANGES, ParameterName

HELP = (
    "Holds from the next run on. Delete it, and the value of the environment or the default holds"
    " again."
)


class ParameterForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = Parameter
        fields = ("name", "value")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        name = str(self.instance.pk or self.initial.get("name", ""))
        ranges = f"{RANGES[ParameterName(name)].words} " if name in ParameterName else ""
        self.fields["value"].help_text = f"{ranges}{HELP}"
