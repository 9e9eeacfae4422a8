"""The customer groups of a company, which say how their customers are accounted for."""

from django.db import models
from django.db.models import Q


class CustomerGroup(models.Model):
    """A customer group, by the code that customers have.

    A new customer gets the financial dimensions of the group of the channel's default customer, and
    not those of the default customer itself. Source: domain 2.13.
    """

    company = models.ForeignKey("Company", models.PROTECT, related_name="customer_groups")
    code = models.CharField(max_length=20)
    name = models.CharField(max_length=100, blank=True)
    financial_dimensions = models.CharField(
        max_length=100,
        blank=True,
        help_text=(
            "Given to new customers whose channel has a default customer of this group, for example"
            " 001-022."
        ),
    )

    class Meta:
        db_table = "customer_group"
        ordering = ["company", "code"]
        constraints = [
            models.UniqueConstraint(
                fields=["company", "code"], name="a_customer_group_is_defined_once"
            ),
            models.CheckConstraint(condition=~Q(code=""), name="a_customer_group_has_a_code"),
        ]

    def __str__(self) -> str:
        return self.code
