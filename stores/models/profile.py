"""How the tills of a channel create customers and customer orders."""

from django.db import models
from django.db.models import Q


class OrderMode(models.TextChoices):
    """When tills that are online take customer orders.

    The real-time service creates no orders: every order is stored in the channel, and Synchronize
    orders creates it at headquarters.
    """

    SYNC = "sync", "Synchronous: while headquarters answers, for customers with an account"
    ASYNC = "async", "Asynchronous: always"
    SYNC_FIRST = "sync_first", "Synchronous with asynchronous backup: always, like asynchronous"


class FunctionalityProfile(models.Model):
    """A named way of working that channels share.

    A till obeys it once job 1070 has sent it to the till's database. A channel without a profile
    works as one with the defaults: everything asynchronously.
    """

    code = models.CharField(max_length=60, unique=True)
    name = models.CharField(max_length=100, blank=True)
    create_customer_async = models.BooleanField(
        "create customer in async mode",
        default=True,
        help_text=(
            "On: tills store new customers in their channel. Off: they ask headquarters first, and"
            " store them only if it cannot be reached. Offline registers always store them."
            " Customers that are pending already stay so."
        ),
    )
    customer_order_mode = models.CharField(
        "create customer order in async mode",
        max_length=10,
        choices=OrderMode.choices,
        default=OrderMode.ASYNC,
        help_text=(
            "When tills take orders. In each mode the channel stores the order, and Synchronize"
            " orders creates it at headquarters."
        ),
    )

    class Meta:
        db_table = "functionality_profile"
        ordering = ["code"]
        constraints = [
            models.CheckConstraint(condition=~Q(code=""), name="a_profile_has_a_code"),
            models.CheckConstraint(
                condition=Q(customer_order_mode__in=OrderMode.values), name="order_mode_is_known"
            ),
        ]

    def __str__(self) -> str:
        return self.code
