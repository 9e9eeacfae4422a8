"""What becomes of quarantined rows: who settled them, when and why."""

from django.conf import settings
from django.db import migrations, models

# The other half of this rule is kept where rows are staged: a row that is accepted closes its
# quarantine in the same transaction. Two contents of one event id may both be there.
NEVER_BOTH = """
CREATE FUNCTION an_open_row_is_not_pending() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE is_pending boolean;
BEGIN
    IF to_regclass(NEW."table") IS NOT NULL THEN
        EXECUTE format('SELECT EXISTS (SELECT FROM %I WHERE event_id = $1 AND status = ''pending'')',
                       NEW."table") INTO is_pending USING NEW.event_id;
        IF is_pending THEN
            RAISE EXCEPTION 'quarantine: its event is pending in staging'
                USING ERRCODE = 'restrict_violation';
        END IF;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER an_open_row_is_not_pending AFTER INSERT OR UPDATE OF status, reason ON quarantine
    FOR EACH ROW WHEN (NEW.status = 'open' AND NEW.event_id IS NOT NULL
                       AND NEW.reason <> 'event_conflict')
    EXECUTE FUNCTION an_open_row_is_not_pending();
"""
NOT_BOTH_AGAIN = """
DROP TRIGGER an_open_row_is_not_pending ON quarantine;
DROP FUNCTION an_open_row_is_not_pending();
"""
SETTLED = "UPDATE quarantine SET settled_at = last_seen_at WHERE status <> 'open'"

KINDS = ("asyncaddress", "asyncaffiliation", "asyncattribute", "asynccontact", "asynccustomer")


def has_customer(model: str) -> list[migrations.operations.base.Operation]:
    """An event may be superseded for nobody only if it was corrected; no reason is not that."""
    constraint = models.CheckConstraint(
        condition=~models.Q(status__in=["applied", "superseded"])
        | models.Q(customer__isnull=False)
        | models.Q(status="superseded", reason="corrected", reason__isnull=False),
        name=f"{model}_applied_has_customer",
    )
    return [
        migrations.RemoveConstraint(model, constraint.name),
        migrations.AddConstraint(model, constraint),
    ]


class Migration(migrations.Migration):
    dependencies = [
        ("stores", "0014_event_too_large"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        *(operation for model in KINDS for operation in has_customer(model)),
        migrations.AlterModelOptions(
            name="quarantine",
            options={
                "permissions": [
                    ("resolve_quarantine", "Can release and correct quarantined rows"),
                    ("dismiss_quarantine", "Can dismiss quarantined rows"),
                ]
            },
        ),
        migrations.RemoveConstraint(
            model_name="incident",
            name="incident_kind_is_known",
        ),
        migrations.AddField(
            model_name="quarantine",
            name="account_number",
            field=models.CharField(blank=True, db_default="", max_length=20),
        ),
        migrations.AddField(
            model_name="quarantine",
            name="became",
            field=models.UUIDField(
                blank=True, help_text="The event staged in its place.", null=True
            ),
        ),
        migrations.AddField(
            model_name="quarantine",
            name="generation",
            field=models.IntegerField(db_default=1),
        ),
        migrations.AddField(
            model_name="quarantine",
            name="rule",
            field=models.CharField(
                blank=True, db_default="", help_text="What the field may hold.", max_length=120
            ),
        ),
        migrations.AddField(
            model_name="quarantine",
            name="settled_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="quarantine",
            name="settled_because",
            field=models.CharField(blank=True, db_default="", max_length=300),
        ),
        migrations.AddField(
            model_name="quarantine",
            name="settled_by",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=models.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.RunSQL(SETTLED, migrations.RunSQL.noop),
        migrations.RunSQL(NEVER_BOTH, NOT_BOTH_AGAIN),
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
                    ("run_given_up", "A run was lost too often"),
                    ("many_quarantined", "Channel sends many rows that cannot be used"),
                    ("message_refused", "The queue held a message that is no run"),
                ],
                max_length=20,
            ),
        ),
        migrations.AddIndex(
            model_name="customer",
            index=models.Index(
                condition=models.Q(("state", "erased")), fields=["company"], name="customer_erased"
            ),
        ),
        migrations.AddIndex(
            model_name="quarantine",
            index=models.Index(
                condition=models.Q(("status", "open")),
                fields=["database", "table", "reason", "field"],
                name="quarantine_open_causes",
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
                            "run_given_up",
                            "many_quarantined",
                            "message_refused",
                        ],
                    )
                ),
                name="incident_kind_is_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="quarantine",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("settled_at__isnull", True), ("status", "open")),
                    models.Q(
                        models.Q(("status", "open"), _negated=True), ("settled_at__isnull", False)
                    ),
                    _connector="OR",
                ),
                name="a_settled_row_says_since_when",
            ),
        ),
        migrations.AddConstraint(
            model_name="quarantine",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("status", "dismissed"), _negated=True),
                    models.Q(("settled_because", ""), _negated=True),
                    _connector="OR",
                ),
                name="a_row_is_dismissed_with_a_reason",
            ),
        ),
    ]
