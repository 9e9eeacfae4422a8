-- The databases to which a job sends nothing: those of registers, if an administrator has excluded the job from offline
-- databases or, for customers, has set the filter of shared customer data in their group.
CREATE VIEW excluded_database AS
SELECT database.id AS database_id, scheduler_job.job
  FROM channel_database database JOIN scheduler_job ON scheduler_job.exclude_from_offline
 WHERE database.name <> ''
 UNION
SELECT database.id, '1010'
  FROM channel_database database JOIN channel_database_group "group" ON "group".id = database.group_id
 WHERE database.name <> '' AND "group".filter_shared_customer_data;
