"""The list of job runs."""

import django_tables2 as tables
from django.db.models import DurationField, ExpressionWrapper, F, QuerySet

from stores.jobs.catalog import JOBS
from stores.models import JobRun
from stores.models.run import EVERYTHING, IS_IDLE, RunStatus, StartedBy
from stores.web.format import took
from stores.web.lists import base

NOT_IDLE, ANY = "not_idle", "any"
STATUS_CHOICES = [(ANY, "All"), (NOT_IDLE, "All but nothing to do"), *RunStatus.choices]


class RunFilter(base.ListFilter):
    """Without a status, the many scheduled runs that found nothing to do are left out."""

    job = base.choice_filter([(job.code, job.title) for job in JOBS.values()], "Job", field="job")
    status = base.choice_filter(
        STATUS_CHOICES, "Status", empty="All but idle scheduled", method="filter_status"
    )
    started_by = base.choice_filter(StartedBy.choices, "Started by", field="started_by")
    since = base.FirstDayFilter("From", "created_at")
    until = base.LastDayFilter("To", "created_at")

    def filter_status(self, runs: QuerySet[JobRun], name: str, status: str) -> QuerySet[JobRun]:
        if status == ANY:
            return runs
        if status == NOT_IDLE:
            return runs.exclude(status=RunStatus.NOTHING_TO_DO)
        return runs.filter(status=status)

    def filter_queryset(self, queryset: QuerySet[JobRun]) -> QuerySet[JobRun]:
        runs = super().filter_queryset(queryset)
        return runs if self.form.cleaned_data.get("status") else runs.exclude(IS_IDLE)


class RunTable(base.ListTable):
    title = "Runs"
    lead = "Runs of all jobs, newest first, but for scheduled ones that found nothing to do."
    if_empty = "No runs yet. Start one on the Jobs page."
    # An index supports this order, so that pages without a filter need no sort.
    indexed_orders = (("created_at", "pk"),)

    created_at = base.TimeColumn("Run", order_by=("created_at", "pk"), linkify=True)
    job = tables.Column("Job")
    status = base.TemplateColumn("Status", "run_status")
    # Mostly channels. A few runs are for a company, a business date or an order, which then follow.
    scope = tables.Column("Channels", attrs=base.wide_only("md"))
    started_by = tables.Column("Started by", attrs=base.wide_only("xl"))
    # `seconds` is a property, by which the database cannot sort: all_runs() adds `duration` for it.
    seconds = base.FormattedColumn(
        "Took", took, order_by="duration", attrs=base.wide_only("md", css="num")
    )
    message = base.MessageColumn("Result", attrs=base.wide_only("xl"))

    def render_scope(self, value: str, record: JobRun) -> str:
        return "All" if value == EVERYTHING else record.about

    def value_scope(self, value: str) -> str:
        """The scope as it is stored. Without this method, the CSV would have what the page has."""
        return value

    def render_started_by(self, record: JobRun) -> str:
        started_by = str(record.get_started_by_display())
        if record.requested_by:
            return f"{started_by} · {record.requested_by.get_username()}"
        return started_by


def all_runs() -> QuerySet[JobRun]:
    """All runs, newest first, with their `duration`."""
    duration = ExpressionWrapper(F("ended_at") - F("started_at"), output_field=DurationField())
    runs = JobRun.objects.newest_first().select_related("requested_by").defer("error")
    return runs.annotate(duration=duration)
