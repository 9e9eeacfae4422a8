-- Fencing numbers of steps. A worker whose number is smaller than the row's has lost the step.
CREATE SEQUENCE run_step_fencing;

-- Counters of the events that headquarters creates. Each channel numbers its own events.
CREATE SEQUENCE hq_event_counter;
