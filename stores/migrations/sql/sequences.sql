-- Fencing numbers of runs and steps: a worker with a smaller number than the row's has lost it.
CREATE SEQUENCE job_run_fencing;

-- Counts the events that headquarters makes, as each channel counts its own.
CREATE SEQUENCE hq_event_counter;
