"""When work runs: start, claim, carry out, record, recover.

PostgreSQL is the source of truth; the queue only wakes workers. What may not overlap is locked per
step and database or company; one started job is one run, whose steps fail, or find themselves
busy, alone.
"""
