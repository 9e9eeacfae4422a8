"""A removal that somebody had not seen is brought back by a person only."""

from django.db import migrations, models

# A rule had closed them.
REOPEN = """
UPDATE edit_conflict SET choice = '', closed_at = NULL
 WHERE choice = 'rule' AND field = 'is_active' AND lost_value = 'true';
"""


class Migration(migrations.Migration):
    dependencies = [("stores", "0049_staged_counters")]
    operations = [
        migrations.RunSQL(REOPEN, migrations.RunSQL.noop),
        migrations.AddConstraint(
            model_name="editconflict",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("choice", "rule"),
                    ("field", "is_active"),
                    ("lost_value", "true"),
                    _negated=True,
                ),
                name="no_rule_undoes_a_removal",
            ),
        ),
    ]
