-- Fencing numbers of runs and steps. A worker whose number is smaller than the row's has lost the run or the step.
CREATE SEQUENCE job_run_fencing;

-- Counters of the events that headquarters creates. Each channel numbers its own events.
CREATE SEQUENCE hq_event_counter;
