"""The form that starts a job."""

import datetime
from typing import Any

from django import forms

from stores.jobs.catalog import DATED_JOBS, Job
from stores.models import Channel, RetailTransaction
from stores.models.job import JobCode
from stores.pipeline.dates import InvalidBusinessDate, parse_business_date


class StartForm(forms.Form):
    """What a run of the job is for: a channel, a business date or an order."""

    channel = forms.ModelChoiceField(
        Channel.objects.filter(is_enabled=True),
        to_field_name="code",
        required=False,
        empty_label="All channels",
        error_messages={"invalid_choice": "Unknown channel, or the channel is switched off."},
    )
    date = forms.CharField(required=False)
    order = forms.CharField(required=False)

    def __init__(self, job: Job, data: Any) -> None:
        super().__init__(data)
        self.job = job

    def clean_date(self) -> datetime.date | None:
        text = self.cleaned_data["date"]
        if not text:
            return None
        if self.job.code not in DATED_JOBS:
            raise forms.ValidationError(f"Only {', '.join(DATED_JOBS)} take a business date.")
        try:
            return parse_business_date(text)
        except InvalidBusinessDate as error:
            raise forms.ValidationError(str(error)) from None

    def clean_order(self) -> str:
        number: str = self.cleaned_data["order"]
        if not number:
            return ""
        if self.job.code != JobCode.ORDERS:
            raise forms.ValidationError("Only Synchronize orders takes an order.")
        channel = self.cleaned_data.get("channel")
        channels = [channel.code] if channel else []
        if not RetailTransaction.objects.orders_numbered(number, channels).exists():
            raise forms.ValidationError("Unknown customer order.")
        return number

    @property
    def first_error(self) -> str:
        for messages in self.errors.values():
            return str(messages[0])
        return ""
