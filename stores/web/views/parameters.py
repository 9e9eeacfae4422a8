"""The page of parameters: the value of each that holds, and where that comes from."""

from collections.abc import Iterator
from dataclasses import dataclass

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from stores.messages.labels import counted
from stores.models import Parameter
from stores.models.parameter import RANGES, ParameterName
from stores.web.request import Request

SCHEDULES = (
    ParameterName.PIPELINE_PAUSE,
    ParameterName.BACK_OFF,
    ParameterName.BACK_OFF_MOST,
    ParameterName.SLOW_VISIT,
    ParameterName.VISIT_SHARE,
)
DOWNLOADS = (
    ParameterName.STRICT_ORDER_TRIES,
    ParameterName.PACKAGE_DAYS,
    ParameterName.PACKAGE_MAX_DAYS,
)
RETENTION = (ParameterName.DETAILS_KEPT, ParameterName.IDLE_RUNS_KEPT)
# Processes read these when they start. Each is a setting; all are numbers of seconds.
WORKERS = {
    "RUN_HEARTBEAT_S": "Time between two heartbeats",
    "RUN_LEASE_S": "A silent worker is replaced after",
    "DISPATCH_S": "Time between two checks of all runs",
    "STEP_SILENT_S": "A step without progress fails after",
    "RUN_LIMIT_S": "Longest time of a step",
}
CONNECTIONS = {
    "CHANNEL_CONNECT_S": "Longest time to connect",
    "CHANNEL_STATEMENT_S": "Longest statement",
    "CHANNEL_LOCK_S": "Longest wait for a lock",
    "CHANNEL_IDLE_S": "Longest idle transaction",
}
HAVE_VARIABLES = (
    *("PIPELINE_PAUSE_S", "DETAILS_KEPT_DAYS"),
    *("RUN_HEARTBEAT_S", "RUN_LEASE_S", "DISPATCH_S", "STEP_SILENT_S"),
)


@dataclass(frozen=True)
class ParameterRow:
    """A parameter as the page shows it."""

    title: str
    value: str
    # The variable of the environment that can set it; empty if there is none.
    variable: str
    is_stored: bool = False
    is_fixed: bool = False
    # Of the form that changes it; empty for who may not, and for what only a restart changes.
    change_url: str = ""

    @property
    def is_set(self) -> bool:
        return self.variable in settings.VARIABLES_SET


@require_safe
def parameter_list(request: Request) -> HttpResponse:
    stored = dict(Parameter.objects.values_list("name", "value"))
    may_change = request.user.has_perms(["stores.add_parameter", "stores.change_parameter"])

    def rows(names: tuple[ParameterName, ...]) -> Iterator[ParameterRow]:
        for name in names:
            value = stored.get(name, getattr(settings, name))
            yield ParameterRow(
                name.label,
                counted(value, RANGES[name].unit),
                variable_of(name),
                is_stored=name in stored,
                change_url=change_url(name, is_stored=name in stored) if may_change else "",
            )

    context = {
        "Schedules": [*rows(SCHEDULES)],
        "Downloads": [*rows(DOWNLOADS)],
        "Retention": [*rows(RETENTION)],
        "Workers": [fixed_row(*item) for item in WORKERS.items()],
        "Connections to channels": [fixed_row(*item) for item in CONNECTIONS.items()],
    }
    return render(request, "parameters/list.html", {"parameters": context})


def fixed_row(setting: str, title: str) -> ParameterRow:
    value, variable = counted(getattr(settings, setting), "second"), variable_of(setting)
    return ParameterRow(title, value, variable, is_fixed=not variable)


def variable_of(setting: str) -> str:
    return f"SYNCLINE_{setting}" if setting in HAVE_VARIABLES else ""


def change_url(name: ParameterName, *, is_stored: bool) -> str:
    if is_stored:
        return reverse("admin:stores_parameter_change", args=[name])
    return reverse("admin:stores_parameter_add", query={"name": name})
