"""Rows that HQ set aside."""

from django.http.response import HttpResponseBase
from django.views.decorators.http import require_safe

from stores.filters import QuarantineFilter
from stores.models import Quarantine
from stores.tables import QuarantineTable
from stores.views import Request
from stores.views.lists import respond


@require_safe
def quarantine_list(request: Request) -> HttpResponseBase:
    """Every row that HQ could not use, newest first: why, and what to do. Never what it holds."""
    # What a row held is personal data, and big: it stays in the database.
    rows = Quarantine.objects.newest_first().defer("raw", "payload_hash")
    filters = QuarantineFilter(request.GET, rows.select_related("database__channel"))
    return respond(request, filters, QuarantineTable, "quarantine/list.html")
