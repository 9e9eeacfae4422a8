"""The real-time service: tokens, the accounts it has given, and the events that tills send to it."""

from pathlib import Path

from django.conf import settings
from django.db import migrations, models
from django.db.models.functions import Now

from stores.hqdb.migration import QuickMigration

SQL = Path(__file__).parent / "sql" / "rts.sql"
KINDS = ("customer", "address", "contact", "affiliation", "attribute")
ORIGINS = [("till", "Till"), ("hq", "Headquarters"), ("rts", "Real-time service")]


def origin_of(model: str) -> migrations.AlterField:
    field = models.CharField(choices=ORIGINS, db_default="till", max_length=4)
    return migrations.AlterField(model_name=model, name="origin", field=field)


def events_may_come_in_real_time(noun: str) -> list[migrations.operations.base.Operation]:
    """A staged event may have been sent to the real-time service: then it is of generation 0."""
    model = f"staged{noun}"
    in_real_time = models.Q(database__isnull=False, generation=0, origin="rts")
    otherwise = models.Q(models.Q(origin="rts", _negated=True), generation__gt=0)
    return [
        migrations.RemoveConstraint(model_name=model, name=f"{model}_origin_is_known"),
        origin_of(model),
        migrations.AddConstraint(
            model_name=model,
            constraint=models.CheckConstraint(
                condition=models.Q(origin__in=["till", "hq", "rts"]),
                name=f"{model}_origin_is_known",
            ),
        ),
        migrations.AddConstraint(
            model_name=model,
            constraint=models.CheckConstraint(
                condition=in_real_time | otherwise, name=f"{model}_is_in_its_generation"
            ),
        ),
    ]


def person() -> models.ForeignKey:
    return models.ForeignKey(
        null=True, on_delete=models.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
    )


class Migration(QuickMigration):
    dependencies = [
        ("stores", "0002_setup"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        *(operation for kind in KINDS for operation in events_may_come_in_real_time(kind)),
        origin_of("retailtransaction"),
        migrations.CreateModel(
            name="RtsToken",
            fields=[
                ("id", models.CharField(max_length=16, primary_key=True, serialize=False)),
                ("digest", models.CharField(max_length=64, unique=True)),
                (
                    "channel",
                    models.ForeignKey(
                        on_delete=models.PROTECT, related_name="rts_tokens", to="stores.channel"
                    ),
                ),
                (
                    "networks",
                    models.JSONField(
                        default=list, help_text="Where tills may call from; empty: anywhere."
                    ),
                ),
                ("calls_per_minute", models.PositiveIntegerField()),
                ("made_at", models.DateTimeField(db_default=Now())),
                ("made_by", person()),
                ("expires_at", models.DateTimeField()),
                ("revoked_at", models.DateTimeField(null=True)),
                ("revoked_by", person()),
                ("last_used_at", models.DateTimeField(null=True)),
                ("last_used_from", models.GenericIPAddressField(null=True)),
                ("last_refused_at", models.DateTimeField(null=True)),
                ("last_refusal", models.CharField(db_default="", max_length=40)),
                ("minute", models.DateTimeField(null=True)),
                ("calls", models.PositiveIntegerField(db_default=0)),
            ],
            options={
                "db_table": "rts_token",
                "permissions": [
                    ("manage_token", "Can make and revoke tokens of the real-time service")
                ],
                "default_permissions": (),
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(expires_at__gt=models.F("made_at")),
                        name="a_token_expires_after_it_was_made",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(digest__regex="^[0-9a-f]{64}$"),
                        name="only_a_digest_is_stored",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(calls_per_minute__gte=1, calls_per_minute__lte=100_000),
                        name="a_token_allows_some_calls",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(revoked_at__isnull=False)
                        | models.Q(revoked_by__isnull=True),
                        name="somebody_revokes_at_some_time",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="RtsAnswer",
            fields=[
                ("async_account", models.UUIDField(primary_key=True, serialize=False)),
                (
                    "token",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=models.PROTECT,
                        related_name="+",
                        to="stores.rtstoken",
                    ),
                ),
                ("answered_at", models.DateTimeField(db_default=Now())),
            ],
            options={"db_table": "rts_answer", "default_permissions": ()},
        ),
        migrations.RunSQL(SQL.read_text("utf-8")),
    ]
