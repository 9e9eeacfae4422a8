"""How far each company's orders and invoices are numbered, one row a series."""

from django.db import migrations

VIEW = """
CREATE VIEW issued_document AS
SELECT company_id AS company, 'order' AS series, next_order - 1 AS number, order_format AS format
  FROM order_sequence
UNION ALL
SELECT company_id, 'invoice', next_invoice - 1, invoice_format FROM order_sequence;
"""


class Migration(migrations.Migration):
    dependencies = [("stores", "0051_different_rows")]
    operations = [migrations.RunSQL(VIEW, "DROP VIEW issued_document")]
