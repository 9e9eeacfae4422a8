"""When work runs: start, enqueue, claim, carry out, record, continue, recover.

A run is rows: one per step and place, planned when it starts. Each is a job of the queue, whose
only argument is the row's id, and any worker takes it. Nobody leads: whoever ends the last step of
a stage enqueues the next one, or ends the run. PostgreSQL is the source of truth; the queue may be
emptied at any time. What may not overlap is locked per step and database or company.
"""
