"""A job to start."""

import datetime

from django import forms

from stores.jobs.catalog import DATED_JOBS, JOBS
from stores.models import Channel, RetailTransaction
from stores.pipeline.dates import NoBusinessDate, business_date


class StartForm(forms.Form):
    """A job to start, on one channel or on all, for one business date or for every one."""

    job = forms.ChoiceField(
        choices=[(job.code, job.title) for job in JOBS.values()],
        error_messages={
            "required": "Unknown job.",
            "invalid_choice": "Unknown job.",
        },
    )
    channel = forms.ModelChoiceField(
        Channel.objects.filter(is_enabled=True),
        to_field_name="code",
        required=False,
        empty_label="All channels",
        error_messages={"invalid_choice": "Unknown channel, or the channel is switched off."},
    )
    date = forms.CharField(required=False)
    order = forms.CharField(required=False)

    def clean_date(self) -> datetime.date | None:
        """The day, by the rule of `run_job --date`."""
        typed = self.cleaned_data["date"]
        if typed and self.cleaned_data.get("job") not in DATED_JOBS:
            raise forms.ValidationError(f"Only {', '.join(DATED_JOBS)} take a business date.")
        try:
            return business_date(typed) if typed else None
        except NoBusinessDate as error:
            raise forms.ValidationError(str(error)) from None

    def clean_order(self) -> str:
        """The confirmation number of an order that is there."""
        number: str = self.cleaned_data["order"]
        job = JOBS.get(self.cleaned_data.get("job", ""))
        if number and job and not job.takes_order:
            raise forms.ValidationError("Only Synchronize orders takes an order.")
        channel = self.cleaned_data.get("channel")
        codes = [channel.code] if channel else []
        if number and not RetailTransaction.objects.orders_numbered(number, codes).exists():
            raise forms.ValidationError("Unknown customer order.")
        return number

    @property
    def refusal(self) -> str:
        return str(next(iter(self.errors.values()))[0])
