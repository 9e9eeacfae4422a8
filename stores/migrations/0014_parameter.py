"""Parameters that an administrator may change."""

from django.db import migrations, models
from django.db.models import Q

from stores.hqdb.migration import QuickMigration

DAY_S = 24 * 60 * 60
PARAMETERS = {
    "PIPELINE_PAUSE_S": ("Pause between two pipelines", 1, DAY_S),
    "BACK_OFF_S": ("Pause after the first failed visit of a channel", 1, DAY_S),
    "BACK_OFF_MOST_S": ("Longest pause after failed visits", 1, DAY_S),
    "SLOW_VISIT_S": ("Visits that get runs of their own take more than", 1, DAY_S),
    "VISIT_SHARE_S": ("Longest visit of a scheduled run", 1, DAY_S),
    "STRICT_ORDER_TRIES": ("Try count of a package in strict order", 1, 100),
    "PACKAGE_DAYS": ("Data of a package is kept at least", 1, 365),
    "PACKAGE_MAX_DAYS": ("Data of a package is kept at most", 1, 365),
    "DETAILS_KEPT_DAYS": ("Download sessions and visits of runs are kept for", 1, 3650),
    "IDLE_RUNS_KEPT_S": ("Scheduled runs with nothing to do are kept for", 60, DAY_S),
}


def is_in_range() -> Q:
    condition = Q()
    for name, (_, least, most) in PARAMETERS.items():
        condition |= Q(name=name, value__range=(least, most))
    return condition


class Migration(QuickMigration):
    dependencies = [("stores", "0013_order_modes")]

    operations = [
        migrations.CreateModel(
            name="Parameter",
            fields=[
                (
                    "name",
                    models.CharField(
                        choices=[(name, label) for name, (label, *_) in PARAMETERS.items()],
                        max_length=20,
                        primary_key=True,
                        serialize=False,
                        verbose_name="parameter",
                    ),
                ),
                ("value", models.PositiveIntegerField()),
            ],
            options={
                "db_table": "parameter",
                "ordering": ["name"],
                "constraints": [
                    models.CheckConstraint(
                        condition=is_in_range(),
                        name="parameter_is_in_range",
                        violation_error_message="This parameter cannot have that value.",
                    ),
                ],
            },
        ),
    ]
