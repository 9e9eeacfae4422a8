"""The pages of incidents: the list, one incident, and closing it."""

import json

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from stores.models import Incident
from stores.models.incident import IncidentKind
from stores.web.forms.reason import posted_reason
from stores.web.lists.incidents import IncidentFilter, IncidentTable, all_incidents
from stores.web.lists.response import list_view
from stores.web.permissions import require_permission
from stores.web.request import Request

may_close_incidents = require_permission("stores.release_fence", "close incidents")

PREVIEW_RECOVERY = ("Show what headquarters lost, and change nothing:", "recover_hq --dry-run")
# What each command is for; {} stands for the id of the incident.
SETTLE_DATABASE = (
    (
        "If the database at the channel's address is the right one:",
        "incidents accept {} --reason …",
    ),
    ("If it is a copy that becomes a database of its own:", "incidents renew {} --reason …"),
)
RESOLVING_COMMANDS = {
    IncidentKind.HQ_BEHIND: (
        PREVIEW_RECOVERY,
        ("Recover it from the channels and the number journal:", "recover_hq"),
    ),
    IncidentKind.HQ_MOVED: (("Visit all channels:", "run_job P-0001"),),
    IncidentKind.FORGOTTEN_ACCOUNT: (PREVIEW_RECOVERY,),
    IncidentKind.CHANNEL_FORKED: SETTLE_DATABASE,
    IncidentKind.WRONG_DATABASE: SETTLE_DATABASE,
}

incident_list = list_view(IncidentFilter, IncidentTable, all_incidents)


@require_safe
def incident_detail(request: Request, number: int) -> HttpResponse:
    incidents = Incident.objects.select_related("database__channel", "closed_by")
    incident = get_object_or_404(incidents, pk=number)
    commands: tuple[tuple[str, str], ...] = ()
    if not incident.closed_at:
        commands = RESOLVING_COMMANDS.get(IncidentKind(incident.kind), ())
    context = {
        "incident": incident,
        "commands": [(use, command.format(incident.pk)) for use, command in commands],
        "detail": json.dumps(incident.detail, indent=2) if incident.detail else "",
    }
    return render(request, "incidents/detail.html", context)


@require_POST
@may_close_incidents
def close_incident(request: Request, number: int) -> HttpResponseRedirect:
    """Close an incident with a reason; what is still wrong opens a new one at the next visit."""
    incident = get_object_or_404(Incident, pk=number)
    if not incident.can_be_closed_by_hand:
        messages.error(request, "Resolve this incident with the command recover_hq.")
    # Without a reason, posted_reason() has told the user so.
    elif reason := posted_reason(request):
        if incident.close(reason, by=request.user):
            messages.success(request, f"Incident {incident.pk} closed.")
        else:
            messages.info(request, "The incident is already closed.")
    return redirect(incident)
