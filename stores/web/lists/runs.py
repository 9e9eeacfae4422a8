"""The list of job runs."""

import django_tables2 as tables
from django.db.models import DurationField, ExpressionWrapper, F, QuerySet
from django.utils.html import format_html

from stores.jobs.catalog import JOBS
from stores.models import JobRun
from stores.models.run import RunStatus, StartedBy
from stores.web.components import outcome
from stores.web.format import took
from stores.web.lists import base

NOT_IDLE = "not_idle"
# The scope of a run that is limited to nothing.
EVERYTHING = "*"
STATUS_CHOICES = [(NOT_IDLE, "All but nothing to do"), *RunStatus.choices]


class RunFilter(base.ListFilter):
    """The status "All but nothing to do" hides the many scheduled runs that found no work."""

    job = base.choice_filter([(job.code, job.title) for job in JOBS.values()], "Job", field="job")
    status = base.choice_filter(STATUS_CHOICES, "Status", method="filter_status")
    started_by = base.choice_filter(StartedBy.choices, "Started by", field="started_by")
    since = base.FirstDayFilter("From", "created_at")
    until = base.LastDayFilter("To", "created_at")

    def filter_status(self, runs: QuerySet[JobRun], name: str, status: str) -> QuerySet[JobRun]:
        if status == NOT_IDLE:
            return runs.exclude(status=RunStatus.NOTHING_TO_DO)
        return runs.filter(status=status)


class RunTable(base.ListTable):
    title = "Runs"
    lead = "All runs of all jobs, newest first."
    if_empty = "No runs yet. Start one on the Jobs page."
    # Without a filter, an index gives the newest rows of this order at once.
    indexed_orders = (("created_at", "pk"),)

    created_at = base.TimeColumn("Run", order_by=("created_at", "pk"), linkify=True)
    job = tables.Column("Job")
    status = tables.Column("Status")
    scope = tables.Column("Channels", attrs=base.wide_only("md"))
    started_by = tables.Column("Started by", attrs=base.wide_only("xl"))
    seconds = base.FormattedColumn(
        "Took", took, order_by="duration", attrs=base.wide_only("md", "num")
    )
    message = base.MessageColumn("Result", attrs=base.wide_only("xl"))

    def render_status(self, record: JobRun) -> str:
        """The outcome; narrow screens show below it how long the run took."""
        return format_html(
            '{}<div class="why d-md-none">{}</div>', outcome(record), took(record.seconds)
        )

    def value_status(self, value: str) -> str:
        """The code, for CSV: django-tables2 calls these methods by the names of the columns."""
        return value

    def render_scope(self, value: str, record: JobRun) -> str:
        return "All" if value == EVERYTHING else record.about

    def value_scope(self, value: str) -> str:
        return value

    def render_started_by(self, record: JobRun) -> str:
        started_by: str = record.get_started_by_display()
        if record.requested_by:
            return f"{started_by} · {record.requested_by.get_username()}"
        return started_by


def all_runs() -> QuerySet[JobRun]:
    """All runs, newest first; the column of seconds is ordered by `duration`."""
    duration = ExpressionWrapper(F("ended_at") - F("started_at"), output_field=DurationField())
    runs = JobRun.objects.newest_first().select_related("requested_by").defer("error")
    return runs.annotate(duration=duration)
