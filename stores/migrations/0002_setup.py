"""What administrators set up for tills, and what HQ knows of the settings in each channel.

The functionality profile of a channel was a text without an effect: each text becomes a profile with
the defaults, which say what channels have always done.
"""

import django.db.models.deletion
from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from stores.hqdb.migration import QuickMigration


def make_profiles(apps: Apps, _editor: BaseDatabaseSchemaEditor) -> None:
    profiles = apps.get_model("stores", "FunctionalityProfile").objects
    channels = apps.get_model("stores", "Channel").objects
    for code in set(channels.exclude(profile_code="").values_list("profile_code", flat=True)):
        profile = profiles.create(code=code)
        channels.filter(profile_code=code).update(profile=profile)


class Migration(QuickMigration):
    dependencies = [
        ("stores", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="DistributedSettings",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("job", models.CharField(max_length=10)),
                ("settings", models.JSONField(default=dict)),
                ("confirmed_at", models.DateTimeField()),
            ],
            options={
                "db_table": "distributed_settings",
            },
        ),
        migrations.CreateModel(
            name="FeatureSet",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "async_addresses",
                    models.BooleanField(
                        default=True,
                        help_text="Tills store new addresses in their channel, for customers with an account too.",
                        verbose_name="asynchronous creation of customer addresses",
                    ),
                ),
                (
                    "enhanced_creation",
                    models.BooleanField(
                        default=True,
                        help_text="Tills store affiliations, the title and further contacts of new customers in their channel.",
                        verbose_name="enhanced async customer creation",
                    ),
                ),
                (
                    "async_edit",
                    models.BooleanField(
                        default=True,
                        help_text="Tills store edits in their channel. Needs the two features above. Tills change their ways when jobs 1070, 1110 and 1010 have run.",
                        verbose_name="editing customers in asynchronous mode",
                    ),
                ),
                (
                    "multiple_contacts",
                    models.BooleanField(
                        default=True,
                        help_text="For new asynchronous customers only with enhanced async customer creation.",
                        verbose_name="capture of multiple e-mails and phone numbers with consent for marketing",
                    ),
                ),
            ],
            options={
                "verbose_name": "set of features",
                "verbose_name_plural": "features",
                "db_table": "feature_set",
                "ordering": ["company"],
            },
        ),
        migrations.CreateModel(
            name="FunctionalityProfile",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("code", models.CharField(max_length=60, unique=True)),
                ("name", models.CharField(blank=True, max_length=100)),
                (
                    "create_customer_async",
                    models.BooleanField(
                        default=True,
                        help_text="On: tills store new customers in their channel. Off: they ask headquarters first, and store them only if it cannot be reached. Offline registers always store them. Customers that are pending already stay so.",
                        verbose_name="create customer in async mode",
                    ),
                ),
                (
                    "customer_order_mode",
                    models.CharField(
                        choices=[
                            ("sync", "Synchronous: headquarters creates the order"),
                            (
                                "async",
                                "Asynchronous: the channel stores it, Synchronize orders creates the order",
                            ),
                            (
                                "sync_first",
                                "Synchronous, and asynchronous if headquarters cannot be reached",
                            ),
                        ],
                        default="async",
                        help_text="A customer without an account cannot be on a synchronous order.",
                        max_length=10,
                        verbose_name="create customer order in async mode",
                    ),
                ),
            ],
            options={
                "db_table": "functionality_profile",
                "ordering": ["code"],
            },
        ),
        migrations.CreateModel(
            name="SchedulerJob",
            fields=[
                (
                    "job",
                    models.CharField(
                        choices=[
                            ("1010", "1010: customers to the channels"),
                            ("1070", "1070: channel configuration to the channels"),
                            ("1110", "1110: global configuration to the channels"),
                        ],
                        max_length=10,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "exclude_from_offline",
                    models.BooleanField(
                        default=False,
                        help_text="On: the job leaves out the databases of registers.",
                        verbose_name="exclude from offline databases",
                    ),
                ),
            ],
            options={
                "db_table": "scheduler_job",
                "ordering": ["job"],
            },
        ),
        migrations.RemoveConstraint(
            model_name="schedule",
            name="scheduled_job_is_known",
        ),
        migrations.AddField(
            model_name="channeldatabasegroup",
            name="filter_shared_customer_data",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="On: registers of this group create no customers while they are offline. Exclude the jobs that send customers, such as 1010, from offline databases too.",
                verbose_name="filter shared customer data tables",
            ),
        ),
        migrations.AlterField(
            model_name="schedule",
            name="job",
            field=models.CharField(
                choices=[
                    ("sync-orders", "Synchronize orders"),
                    ("eod", "End of day"),
                    ("verify", "Check the promises"),
                    ("reconcile", "Compare with the channels"),
                    ("1070", "1070: channel configuration to the channels"),
                    ("1110", "1110: global configuration to the channels"),
                ],
                max_length=40,
            ),
        ),
        migrations.AddConstraint(
            model_name="schedule",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("job__in", ["sync-orders", "eod", "verify", "reconcile", "1070", "1110"])
                ),
                name="scheduled_job_is_known",
            ),
        ),
        migrations.AddField(
            model_name="distributedsettings",
            name="database",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="distributed_settings",
                to="stores.channeldatabase",
            ),
        ),
        migrations.AddField(
            model_name="featureset",
            name="company",
            field=models.ForeignKey(
                blank=True,
                help_text="Empty: every company without features of its own.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="feature_sets",
                to="stores.company",
            ),
        ),
        migrations.AddConstraint(
            model_name="functionalityprofile",
            constraint=models.CheckConstraint(
                condition=models.Q(("code", ""), _negated=True), name="a_profile_has_a_code"
            ),
        ),
        migrations.AddConstraint(
            model_name="functionalityprofile",
            constraint=models.CheckConstraint(
                condition=models.Q(("customer_order_mode__in", ["sync", "async", "sync_first"])),
                name="order_mode_is_known",
            ),
        ),
        migrations.RenameField("channel", "profile", "profile_code"),
        migrations.AddField(
            model_name="channel",
            name="profile",
            field=models.ForeignKey(
                blank=True,
                help_text="How tills create customers and orders. Empty: everything asynchronously.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="channels",
                to="stores.functionalityprofile",
                verbose_name="functionality profile",
            ),
        ),
        migrations.RunPython(make_profiles),
        migrations.RemoveField("channel", "profile_code"),
        migrations.AddConstraint(
            model_name="schedulerjob",
            constraint=models.CheckConstraint(
                condition=models.Q(("job__in", ["1010", "1070", "1110"])),
                name="sending_job_is_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="distributedsettings",
            constraint=models.UniqueConstraint(
                fields=("database", "job"), name="settings_are_noted_once_for_a_database"
            ),
        ),
        migrations.AddConstraint(
            model_name="distributedsettings",
            constraint=models.CheckConstraint(
                condition=models.Q(("job__in", ["1070", "1110"])), name="configuration_job_is_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="featureset",
            constraint=models.UniqueConstraint(
                fields=("company",),
                name="a_company_has_one_set_of_features",
                nulls_distinct=False,
                violation_error_message="There are features for this choice of company already.",
            ),
        ),
        migrations.AddConstraint(
            model_name="featureset",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("async_edit", False),
                    models.Q(("async_addresses", True), ("enhanced_creation", True)),
                    _connector="OR",
                ),
                name="async_edit_has_what_it_needs",
                violation_error_message="Asynchronous editing needs the two features above it.",
            ),
        ),
        migrations.CreateModel(
            name="Affiliation",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=20)),
                ("description", models.CharField(blank=True, max_length=100)),
                (
                    "is_hidden",
                    models.BooleanField(
                        default=False,
                        help_text="On: tills do not offer it.",
                        verbose_name="hide in channels",
                    ),
                ),
            ],
            options={
                "db_table": "affiliation",
                "ordering": ["company", "name"],
            },
        ),
        migrations.CreateModel(
            name="CustomerGroup",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("code", models.CharField(max_length=20)),
                ("name", models.CharField(blank=True, max_length=100)),
                (
                    "financial_dimensions",
                    models.CharField(
                        blank=True,
                        help_text="Given to new customers whose channel has a default customer of this group, for example 001-022.",
                        max_length=100,
                    ),
                ),
            ],
            options={
                "db_table": "customer_group",
                "ordering": ["company", "code"],
            },
        ),
        migrations.AddField(
            model_name="company",
            name="known_affiliations_only",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="On: events with an affiliation that is not defined go to quarantine.",
            ),
        ),
        migrations.AddField(
            model_name="company",
            name="known_attributes_only",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="On: events with an attribute that is not defined go to quarantine.",
            ),
        ),
        migrations.AddField(
            model_name="customer",
            name="financial_dimensions",
            field=models.CharField(blank=True, max_length=100, null=True),
        ),
        migrations.AddField(
            model_name="customer",
            name="receipt_preference",
            field=models.CharField(
                blank=True,
                choices=[
                    ("paper", "On paper"),
                    ("email", "By e-mail"),
                    ("both", "On paper and by e-mail"),
                    ("none", "None"),
                ],
                max_length=5,
                null=True,
            ),
        ),
        migrations.AddConstraint(
            model_name="customer",
            constraint=models.CheckConstraint(
                condition=models.Q(("receipt_preference__in", ["paper", "email", "both", "none"])),
                name="receipt_preference_is_known",
            ),
        ),
        migrations.AddField(
            model_name="affiliation",
            name="company",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="affiliations",
                to="stores.company",
            ),
        ),
        migrations.AddField(
            model_name="customergroup",
            name="company",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="customer_groups",
                to="stores.company",
            ),
        ),
        migrations.AddConstraint(
            model_name="affiliation",
            constraint=models.UniqueConstraint(
                fields=("company", "name"), name="an_affiliation_is_defined_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="affiliation",
            constraint=models.CheckConstraint(
                condition=models.Q(("name", ""), _negated=True), name="an_affiliation_has_a_name"
            ),
        ),
        migrations.AddConstraint(
            model_name="customergroup",
            constraint=models.UniqueConstraint(
                fields=("company", "code"), name="a_customer_group_is_defined_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="customergroup",
            constraint=models.CheckConstraint(
                condition=models.Q(("code", ""), _negated=True), name="a_customer_group_has_a_code"
            ),
        ),
    ]
