"""Rights to cancel runs and to have lists as CSV; every run now asks for the rights of its job."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("stores", "0033_headings")]

    operations = [
        migrations.AlterModelOptions(
            name="customer",
            options={"permissions": [("export", "Can have lists as CSV")]},
        ),
        migrations.AlterModelOptions(
            name="jobrun",
            options={
                "permissions": [("run_job", "Can run jobs"), ("control_job", "Can cancel runs")]
            },
        ),
        migrations.RemoveField(model_name="jobrun", name="needs_right"),
    ]
