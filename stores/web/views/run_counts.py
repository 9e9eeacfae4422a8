"""The lists that show the rows behind the counts of a run."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter

from stores.models import Channel, JobRun, RunStep
from stores.models.job import StepCode
from stores.models.run import LEFT_BEHIND
from stores.web.components import query_url
from stores.web.states import step_word
from stores.web.views.alerts import Alert


@dataclass(frozen=True)
class CountList:
    """The page that lists what a step counted by one word, with its filters.

    Of a run for one business date, the filters named in `dates` have this date.
    """

    page: str
    title: str
    query: Mapping[str, str] = field(default_factory=dict)
    dates: tuple[str, ...] = ()
    of_run: bool = False

    def url(self, run: JobRun, channel: Channel | None) -> str:
        dates = {name: str(run.business_date or "") for name in self.dates}
        code = channel.code if channel else ""
        run_id = str(run.pk) if self.of_run else ""
        return query_url(self.page, channel=code, run=run_id, **dates, **self.query)


UPLOADS = CountList("uploads", "Upload sessions", of_run=True)
DOWNLOADS = CountList("downloads", "Download sessions", of_run=True)
STATEMENTS = CountList("statements", "Statements", dates=("since", "until"))
STUCK = CountList("statements", "Statements", {"only": "failed"}, ("since", "until"))

COUNT_LISTS: dict[tuple[str, str], CountList] = {
    (StepCode.UPLOAD, "staged"): UPLOADS,
    (StepCode.UPLOAD, "quarantined"): CountList("quarantine", "Quarantine", {"status": "open"}),
    # Events of every kind; no list has all those that wait.
    (StepCode.CONVERT, "failed"): CountList("quarantine", "Causes in quarantine"),
    (StepCode.DOWNLOAD, "distributed"): DOWNLOADS,
    (StepCode.DOWNLOAD, "failed"): DOWNLOADS,
    (StepCode.ORDERS, "posted"): CountList("orders", "Orders"),
    (StepCode.ORDERS, "waiting"): CountList("transactions", "Transactions", {"posted": "waiting"}),
    (StepCode.ORDERS, "failed"): CountList("transactions", "Transactions", {"order": "failed"}),
    (StepCode.VALIDATE, "failed"): CountList("failed-sales", "Errors by cause", dates=("date",)),
    (StepCode.CALCULATE, "updated"): STATEMENTS,
    (StepCode.CALCULATE, "failed"): STUCK,
    (StepCode.POST, "posted"): STATEMENTS,
    (StepCode.POST, "failed"): STUCK,
    (StepCode.VERIFY, "checked"): CountList("promises", "Promises"),
    (StepCode.RECONCILE, "compared"): CountList("promises", "Promises"),
    (StepCode.REPAIR, "compared"): CountList("promises", "Promises"),
}


@dataclass(frozen=True)
class StepCount:
    """A number that a step counted, and the URL of the list of these rows, if there is one."""

    word: str
    rows: int
    url: str


def step_counts(run: JobRun, step: RunStep) -> Iterator[StepCount]:
    for word, rows in step.counts.items():
        listed = COUNT_LISTS.get((step.step, word)) if rows else None
        yield StepCount(word, rows, listed.url(run, channel_of(step)) if listed else "")


def channel_of(step: RunStep) -> Channel | None:
    """The channel in which a step was done; None if it was done once for a company or for all."""
    return step.database.channel if step.database else step.channel


def left_behind(run: JobRun, steps: Iterable[RunStep]) -> Iterator[Alert]:
    """The rows that failed or were quarantined, by step, with the page that lists them."""
    for code, group in groupby(sorted(steps, key=attrgetter("step")), key=attrgetter("step")):
        steps_of_code = list(group)
        for word in LEFT_BEHIND:
            counting = [step for step in steps_of_code if step.counts.get(word)]
            listed = COUNT_LISTS.get((code, word))
            if counting and listed:
                channels = {channel_of(step) for step in counting}
                yield Alert(
                    "exclamation-triangle-fill",
                    f"{word}: {step_word(code)}",
                    f"See {listed.title}.",
                    listed.url(run, channels.pop() if len(channels) == 1 else None),
                    sum(step.counts[word] for step in counting),
                )
