"""The page of optional customer fields with an invalid value."""

from django.http.response import HttpResponseBase
from django.views.decorators.http import require_safe

from stores.web.lists.fields_to_correct import FieldFilter, FieldTable, all_fields_to_correct
from stores.web.lists.response import list_response
from stores.web.request import Request


@require_safe
def field_list(request: Request) -> HttpResponseBase:
    filters = FieldFilter(request.GET, all_fields_to_correct())
    return list_response(request, filters, FieldTable, "fields/list.html")
