"""A run may be about the sales of one business date."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("stores", "0027_transaction_by_number")]
    operations = [
        migrations.AddField(
            model_name="jobrun",
            name="business_date",
            field=models.DateField(
                blank=True,
                help_text="The only day whose sales it looks at; empty: every day.",
                null=True,
            ),
        ),
    ]
