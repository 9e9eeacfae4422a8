"""What a person types, checked."""

from django import forms

from stores.models import Channel
from stores.pipeline import JOBS


class StartForm(forms.Form):
    """A job to start, on one channel or on all."""

    job = forms.ChoiceField(choices=[(job.code, job.title) for job in JOBS.values()])
    channel = forms.ModelChoiceField(
        Channel.objects.filter(is_enabled=True),
        to_field_name="code",
        required=False,
        empty_label="All channels",
    )
