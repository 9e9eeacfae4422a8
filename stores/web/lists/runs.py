"""Runs of jobs."""

import django_tables2 as tables
from django.db.models import DurationField, ExpressionWrapper, F, QuerySet

from stores.jobs.catalog import JOBS
from stores.models import JobRun
from stores.models.run import RunStatus, StartedBy
from stores.web.components import outcome, when
from stores.web.format import took
from stores.web.lists.base import (
    NOWRAP,
    Formatted,
    ListFilter,
    ListTable,
    choice_filter,
    day_filter,
    wide_only,
)


class RunFilter(ListFilter):
    job = choice_filter([(job.code, job.title) for job in JOBS.values()], "Job", field="job")
    status = choice_filter(RunStatus.choices, "Status", field="status")
    started_by = choice_filter(StartedBy.choices, "Started by", field="started_by")
    since = day_filter("From", "created_at", "gte")
    until = day_filter("To", "created_at", "lt")


class RunTable(ListTable):
    caption = "Runs"
    walks = (("created_at", "pk"),)

    created_at = Formatted(when, verbose_name="Run", order_by=("created_at", "pk"), linkify=True)
    job = tables.Column("Job", attrs=NOWRAP)
    status = tables.Column("Status")
    scope = tables.Column("Channels", attrs=wide_only("md"))
    started_by = tables.Column("Started by", attrs=wide_only("lg"))
    seconds = Formatted(took, verbose_name="Took", order_by="took", attrs=wide_only("md", "num"))
    message = tables.Column("Result", attrs=wide_only("lg"))

    class Meta(ListTable.Meta):
        empty_text = "No runs yet. Start one on the Jobs page."

    def render_status(self, record: JobRun) -> str:
        return outcome(record)

    def value_status(self, value: str) -> str:
        return value

    def render_scope(self, value: str, record: JobRun) -> str:
        return "All" if value == "*" else record.about

    def value_scope(self, value: str) -> str:
        return value

    def render_started_by(self, record: JobRun) -> str:
        user = record.requested_by
        return f"{record.get_started_by_display()}{f' · {user.get_username()}' if user else ''}"


def all_runs() -> QuerySet[JobRun]:
    took = ExpressionWrapper(F("ended_at") - F("started_at"), output_field=DurationField())
    runs = JobRun.objects.newest_first().select_related("requested_by").defer("error")
    return runs.annotate(took=took)
