"""How many rows a step takes in one transaction."""

# Rows of each table in one batch of an upload; customers in one chunk of conversion and download.
# Below 1,000 the fixed cost of a transaction shows, above 10,000 a crash repeats too much.
EVENTS_PER_CHUNK = 10_000
CUSTOMERS_PER_CHUNK = 5_000
# Sales in one chunk of validation, orders and statements; each brings some lines and payments.
SALES_PER_CHUNK = 2_000
