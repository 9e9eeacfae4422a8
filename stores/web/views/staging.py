"""The page of async customer operations: every customer event that a channel sent."""

from django.http.response import HttpResponseBase
from django.views.decorators.http import require_safe

from stores.web.lists.async_customers import (
    AsyncCustomerFilter,
    AsyncCustomerTable,
    all_async_customers,
)
from stores.web.lists.response import list_response
from stores.web.request import Request


@require_safe
def async_customer_list(request: Request) -> HttpResponseBase:
    filters = AsyncCustomerFilter(request.GET, all_async_customers())
    return list_response(request, filters, AsyncCustomerTable, "async_customers/list.html")
