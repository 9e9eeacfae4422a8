"""The page of parameters: what each is set to, and where that comes from."""

from dataclasses import dataclass

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from stores.messages.labels import counted
from stores.web.request import Request


@dataclass(frozen=True)
class Parameter:
    """A setting of the installation that administrators may want to know."""

    title: str
    setting: str
    # What its number counts.
    unit: str
    # Whether a variable of the environment can set it; the others are fixed.
    has_variable: bool = False

    @property
    def value(self) -> str:
        return counted(getattr(settings, self.setting), self.unit)

    @property
    def variable(self) -> str:
        return f"SYNCLINE_{self.setting}" if self.has_variable else ""

    @property
    def is_set(self) -> bool:
        return self.variable in settings.VARIABLES_SET


SCHEDULES = (
    Parameter("Pause between two pipelines", "PIPELINE_PAUSE_S", "second", has_variable=True),
    Parameter("Pause after the first failed visit of a channel", "BACK_OFF_S", "second"),
    Parameter("Longest pause after failed visits", "BACK_OFF_MOST_S", "second"),
    Parameter("Visits that get runs of their own take more than", "SLOW_VISIT_S", "second"),
    Parameter("Longest visit of a scheduled run", "VISIT_SHARE_S", "second"),
)
DOWNLOADS = (
    Parameter("Try count of a package in strict order", "STRICT_ORDER_TRIES", "try"),
    Parameter("Data of a package is kept at least", "PACKAGE_DAYS", "day"),
    Parameter("Data of a package is kept at most", "PACKAGE_MAX_DAYS", "day"),
)
RETENTION = (
    Parameter("Download sessions, visits of runs", "DETAILS_KEPT_DAYS", "day", has_variable=True),
    Parameter("Scheduled runs with nothing to do", "IDLE_RUNS_KEPT_S", "second"),
)
WORKERS = (
    Parameter("Time between two heartbeats", "RUN_HEARTBEAT_S", "second", has_variable=True),
    Parameter("A silent worker is replaced after", "RUN_LEASE_S", "second", has_variable=True),
    Parameter("Time between two checks of all runs", "DISPATCH_S", "second", has_variable=True),
    Parameter("A step without progress fails after", "STEP_SILENT_S", "second", has_variable=True),
    Parameter("Longest time of a step", "RUN_LIMIT_S", "second"),
)
CONNECTIONS = (
    Parameter("Longest time to connect", "CHANNEL_CONNECT_S", "second"),
    Parameter("Longest statement", "CHANNEL_STATEMENT_S", "second"),
    Parameter("Longest wait for a lock", "CHANNEL_LOCK_S", "second"),
    Parameter("Longest idle transaction", "CHANNEL_IDLE_S", "second"),
)
PARAMETERS = {
    "Schedules": SCHEDULES,
    "Downloads": DOWNLOADS,
    "Retention": RETENTION,
    "Workers": WORKERS,
    "Connections to channels": CONNECTIONS,
}


@require_safe
def parameter_list(request: Request) -> HttpResponse:
    return render(request, "parameters/list.html", {"parameters": PARAMETERS})
