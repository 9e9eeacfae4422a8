"""Optional fields that nobody understood, to be corrected on the customer's page or at the till."""

from django.http.response import HttpResponseBase
from django.views.decorators.http import require_safe

from stores.filters import FieldFilter
from stores.models import FieldToCorrect
from stores.tables import FieldTable
from stores.views import Request
from stores.views.lists import respond


@require_safe
def field_list(request: Request) -> HttpResponseBase:
    """Every field that was kept as it came, newest first."""
    rows = FieldToCorrect.objects.newest_first().with_customer()
    return respond(request, FieldFilter(request.GET, rows), FieldTable, "fields/list.html")
