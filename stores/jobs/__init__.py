"""When work runs: start, claim, carry out, record, heal.

The ledger in PostgreSQL is the truth, the queue a doorbell. What may not overlap is locked per step
and database or company; one started job is one run, whose steps fail, or find themselves busy,
alone.
"""
