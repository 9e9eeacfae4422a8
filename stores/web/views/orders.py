"""The pages of sales orders: the list, one order, and releasing it."""

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from stores.models import PostedPayment, SalesOrder
from stores.models.search import found_by_any
from stores.web.lists.orders import OrderFilter, OrderTable, all_orders
from stores.web.lists.response import list_view
from stores.web.permissions import require_permission
from stores.web.request import Request

MAX_SALES_SHOWN = 200

may_release_orders = require_permission("stores.release_hold", "release orders on hold")

order_list = list_view(OrderFilter, OrderTable, all_orders)


@require_safe
def order_detail(request: Request, pk: int) -> HttpResponse:
    orders = SalesOrder.objects.select_related(
        "channel", "customer", "statement__channel", "delivery_address", "released_by", "run"
    )
    order = get_object_or_404(orders, pk=pk)
    posted = PostedPayment.objects
    payments = posted.filter(
        found_by_any(
            posted.filter(sales_order=order), posted.filter(transaction__sales_order=order)
        )
    )
    context = {
        "order": order,
        "sales": order.transactions.newest_first()[:MAX_SALES_SHOWN],
        "sales_count": order.transactions.count(),
        "payments": payments.order_by("kind", "tender_type", "currency"),
    }
    return render(request, "orders/detail.html", context)


@require_POST
@may_release_orders
def release_order(request: Request, pk: int) -> HttpResponseRedirect:
    order = get_object_or_404(SalesOrder, pk=pk)
    if order.release(request.user):
        messages.success(request, f"{order} is released.")
    else:
        messages.info(request, f"{order} is not on hold.")
    return redirect(order)
