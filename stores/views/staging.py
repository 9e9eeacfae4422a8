"""What channels sent: the audit list of all async customer operations."""

from django.http.response import HttpResponseBase
from django.views.decorators.http import require_safe

from stores.filters import AsyncCustomerFilter, with_state
from stores.models import AsyncCustomer
from stores.tables import AsyncCustomerTable
from stores.views import Request
from stores.views.lists import respond


@require_safe
def async_customer_list(request: Request) -> HttpResponseBase:
    """Every customer operation that channels sent, newest first, with what became of it."""
    newest = AsyncCustomer.objects.order_by("-staged_at", "-pk")
    operations = with_state(newest.select_related("database__channel", "customer"))
    filters = AsyncCustomerFilter(request.GET, operations)
    return respond(request, filters, AsyncCustomerTable, "async_customers/list.html")
