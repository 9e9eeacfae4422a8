"""Parameters: numbers that jobs go by, which an administrator may change."""

from typing import NamedTuple, NoReturn

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q

from stores.messages.labels import counted


class ParameterName(models.TextChoices):
    """A parameter has the name of the setting that holds unless an administrator sets another."""

    PIPELINE_PAUSE = "PIPELINE_PAUSE_S", "Pause between two pipelines"
    BACK_OFF = "BACK_OFF_S", "Pause after the first failed visit of a channel"
    BACK_OFF_MOST = "BACK_OFF_MOST_S", "Longest pause after failed visits"
    SLOW_VISIT = "SLOW_VISIT_S", "Visits that get runs of their own take more than"
    VISIT_SHARE = "VISIT_SHARE_S", "Longest visit of a scheduled run"
    STRICT_ORDER_TRIES = "STRICT_ORDER_TRIES", "Try count of a package in strict order"
    PACKAGE_DAYS = "PACKAGE_DAYS", "Data of a package is kept at least"
    PACKAGE_MAX_DAYS = "PACKAGE_MAX_DAYS", "Data of a package is kept at most"
    DETAILS_KEPT = "DETAILS_KEPT_DAYS", "Download sessions and visits of runs are kept for"
    IDLE_RUNS_KEPT = "IDLE_RUNS_KEPT_S", "Scheduled runs with nothing to do are kept for"


class Range(NamedTuple):
    """The values that a parameter may have, and what its number counts."""

    unit: str
    least: int
    most: int

    @property
    def words(self) -> str:
        return f"From {self.least} to {counted(self.most, self.unit)}."


DAY_S = 24 * 60 * 60
RANGES = {
    ParameterName.PIPELINE_PAUSE: Range("second", 1, DAY_S),
    ParameterName.BACK_OFF: Range("second", 1, DAY_S),
    ParameterName.BACK_OFF_MOST: Range("second", 1, DAY_S),
    ParameterName.SLOW_VISIT: Range("second", 1, DAY_S),
    ParameterName.VISIT_SHARE: Range("second", 1, DAY_S),
    ParameterName.STRICT_ORDER_TRIES: Range("try", 1, 100),
    ParameterName.PACKAGE_DAYS: Range("day", 1, 365),
    ParameterName.PACKAGE_MAX_DAYS: Range("day", 1, 365),
    ParameterName.DETAILS_KEPT: Range("day", 1, 3650),
    ParameterName.IDLE_RUNS_KEPT: Range("second", 60, DAY_S),
}
# The first of a pair may not be larger than the second.
ORDERED = (
    (ParameterName.BACK_OFF, ParameterName.BACK_OFF_MOST),
    (ParameterName.PACKAGE_DAYS, ParameterName.PACKAGE_MAX_DAYS),
)


def is_in_range() -> Q:
    condition = Q()
    for name, values in RANGES.items():
        condition |= Q(name=name.value, value__range=(values.least, values.most))
    return condition


class Parameter(models.Model):
    """The value that an administrator has set for a parameter, which holds from then on.

    A parameter without a row has the value that the environment or the default gives it.
    """

    name = models.CharField(
        "parameter", max_length=20, primary_key=True, choices=ParameterName.choices
    )
    value = models.PositiveIntegerField()

    class Meta:
        db_table = "parameter"
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=is_in_range(),
                name="parameter_is_in_range",
                violation_error_message="This parameter cannot have that value.",
            ),
        ]

    def __str__(self) -> str:
        return self.get_name_display()

    def clean(self) -> None:
        """Refuse a value out of range, or one that contradicts the other of an ordered pair."""
        if self.name not in ParameterName or self.value is None:
            return
        values = RANGES[ParameterName(self.name)]
        if not values.least <= self.value <= values.most:
            raise ValidationError({"value": values.words})
        for smaller, larger in ORDERED:
            if self.name == smaller and self.value > parameter(larger):
                self.refuse("At most", larger)
            if self.name == larger and self.value < parameter(smaller):
                self.refuse("At least", smaller)

    def refuse(self, limits: str, other: ParameterName) -> NoReturn:
        """Name the parameter that the value contradicts. Errors: ValidationError."""
        limit = counted(parameter(other), RANGES[other].unit)
        raise ValidationError({"value": f"{limits} the {other.label.lower()}, which is {limit}."})


def parameter(name: ParameterName) -> int:
    """The value that holds: an administrator's, else the environment's, else the default."""
    stored = Parameter.objects.filter(pk=name).values_list("value", flat=True).first()
    if stored is not None:
        return stored
    value: int = getattr(settings, name)
    return value
