"""When work runs. To follow a run, read these in order:

catalog    the jobs, and the steps that each is made of
start      puts a run into the ledger, with the rows of its steps (plan)
queue      carries the ids of steps that wait, and nothing else
claim      makes a waiting step ours
run        does the step in its place, and records how it went (outcome, channel_health)
stages     moves the run on: to its next stage, or to its end
stalled    gives back steps whose worker died, and enqueues what waits and was forgotten
inline     does a whole run in this process, also as a dry run

Each step is a job of the queue, and any worker takes it. Nobody leads: whoever ends the last step
of a stage enqueues the next one, or ends the run. PostgreSQL is the source of truth; the queue may
be emptied at any time. What may not overlap is locked per step and place.
"""
