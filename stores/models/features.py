"""Which features of asynchronous customers the channels of a company may use."""

from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q

# Every channel has these; they cannot be switched off.
MANDATORY_FEATURES = {
    "performance_improvements": (
        "performance improvements for customer orders and customer transactions"
    ),
}
# The others, in the order of the form.
FEATURES = {
    "async_addresses": "asynchronous creation of customer addresses",
    "enhanced_creation": "enhanced async customer creation",
    "async_edit": "editing customers in asynchronous mode",
    "multiple_contacts": (
        "capture of multiple e-mails and phone numbers with consent for marketing"
    ),
}
# What a feature needs. A constraint says the same.
PREREQUISITES = {"async_edit": ("async_addresses", "enhanced_creation")}


def capitalized(feature: str) -> str:
    """What a feature is called, at the beginning of a sentence."""
    title = (MANDATORY_FEATURES | FEATURES)[feature]
    return title[0].upper() + title[1:]


class FeatureSet(models.Model):
    """The features of a company, or of all companies that have no row of their own.

    A till obeys them once job 1110 has sent them to the till's database. Source: domain 2.14.
    """

    company = models.ForeignKey(
        "Company",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="feature_sets",
        help_text="Empty: every company without features of its own.",
    )
    async_addresses = models.BooleanField(
        FEATURES["async_addresses"],
        default=True,
        help_text="Tills store new addresses in their channel, for customers with an account too.",
    )
    enhanced_creation = models.BooleanField(
        FEATURES["enhanced_creation"],
        default=True,
        help_text=(
            "Tills store affiliations, the title and further contacts of new customers in their"
            " channel."
        ),
    )
    async_edit = models.BooleanField(
        FEATURES["async_edit"],
        default=True,
        help_text=(
            "Tills store edits in their channel. Needs the two features above. Tills change their"
            " ways when jobs 1070, 1110 and 1010 have run."
        ),
    )
    multiple_contacts = models.BooleanField(
        FEATURES["multiple_contacts"],
        default=True,
        help_text="For new asynchronous customers only with enhanced async customer creation.",
    )

    class Meta:
        db_table = "feature_set"
        ordering = ["company"]
        verbose_name = "set of features"
        verbose_name_plural = "features"
        constraints = [
            models.UniqueConstraint(
                fields=["company"],
                nulls_distinct=False,
                name="a_company_has_one_set_of_features",
                violation_error_message="There are features for this choice of company already.",
            ),
            models.CheckConstraint(
                condition=Q(async_edit=False) | Q(async_addresses=True, enhanced_creation=True),
                name="async_edit_has_what_it_needs",
                violation_error_message="Asynchronous editing needs the two features above it.",
            ),
        ]

    def __str__(self) -> str:
        return self.company_id or "all companies"

    def clean(self) -> None:
        """Refuse a feature without what it needs, and name what is missing.

        Who switches off what another feature needs is told so at that field.
        """
        saved = FeatureSet.objects.filter(pk=self.pk).first()
        errors: dict[str, Any] = {}
        for feature, needed in PREREQUISITES.items():
            missing = [name for name in needed if not getattr(self, name)]
            if not missing or not getattr(self, feature):
                continue
            if saved and getattr(saved, feature):
                for name in missing:
                    errors[name] = f"Needed by {FEATURES[feature]}: switch that off first."
            else:
                names = " and ".join(FEATURES[name] for name in missing)
                errors[feature] = f"{capitalized(feature)} needs {names}. Switch that on first."
        if errors:
            raise ValidationError(errors)
