"""The groups of customers that a company knows, by name."""

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q

from stores.values.characters import normalize_key


class Affiliation(models.Model):
    """A named group of customers, such as staff or students.

    A customer's affiliations are names; a company may refuse those that are not defined here.
    """

    company = models.ForeignKey("Company", models.PROTECT, related_name="affiliations")
    name = models.CharField(max_length=20)
    description = models.CharField(max_length=100, blank=True)
    is_hidden = models.BooleanField(
        "hide in channels", default=False, help_text="On: tills do not offer it."
    )

    class Meta:
        db_table = "affiliation"
        ordering = ["company", "name"]
        constraints = [
            models.UniqueConstraint(
                fields=["company", "name"], name="an_affiliation_is_defined_once"
            ),
            models.CheckConstraint(condition=~Q(name=""), name="an_affiliation_has_a_name"),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Keep the name as staging keeps that of an event, and refuse one without letters."""
        self.name = normalize_key(self.name or "")
        if not self.name:
            raise ValidationError({"name": "Name: letters that one can read."})
