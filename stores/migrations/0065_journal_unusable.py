"""An incident for a number journal that cannot be written."""

from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("stores", "0048_attributes_and_cards"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="incident",
            name="incident_kind_is_known",
        ),
        migrations.AlterField(
            model_name="incident",
            name="kind",
            field=models.CharField(
                choices=[
                    ("hq_behind", "Headquarters was set back in time"),
                    ("hq_moved", "Headquarters runs on another server or database"),
                    ("channel_restored", "Channel was set back in time"),
                    ("channel_forked", "Channel database exists twice"),
                    ("wrong_database", "Another database than the registered one"),
                    ("schema_drift", "Channel's tables were changed"),
                    ("forgotten_account", "Channel knows an account that headquarters does not"),
                    ("content_changed", "An event was changed after it was written"),
                    ("event_too_large", "An event is too large to be fetched"),
                    ("event_vanished", "An event vanished at its source"),
                    ("parts_without_header", "Lines or payments without their sale"),
                    ("posted_before", "Orders or invoices were issued that headquarters forgot"),
                    ("journal_unusable", "The number journal cannot be written"),
                    ("run_given_up", "A run was lost too often"),
                    ("many_quarantined", "Channel sends many rows that cannot be used"),
                    ("row_refused", "A database refuses a row"),
                    ("message_refused", "The queue held a message that is no run"),
                ],
                max_length=20,
            ),
        ),
        migrations.AddConstraint(
            model_name="incident",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "kind__in",
                        [
                            "hq_behind",
                            "hq_moved",
                            "channel_restored",
                            "channel_forked",
                            "wrong_database",
                            "schema_drift",
                            "forgotten_account",
                            "content_changed",
                            "event_too_large",
                            "event_vanished",
                            "parts_without_header",
                            "posted_before",
                            "journal_unusable",
                            "run_given_up",
                            "many_quarantined",
                            "row_refused",
                            "message_refused",
                        ],
                    )
                ),
                name="incident_kind_is_known",
            ),
        ),
    ]
