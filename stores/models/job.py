"""The codes of jobs and of their steps, with what each is called."""

from django.db import models


class JobCode(models.TextChoices):
    PIPELINE = "pipeline", "Pipeline"
    UPLOAD = "P-0001", "P-job: upload from the channels"
    CONVERT = "sync-customers", "Synchronize customers and channel requests"
    DOWNLOAD = "1010", "1010: customers to the channels"
    CHANNEL_CONFIGURATION = "1070", "1070: channel configuration to the channels"
    GLOBAL_CONFIGURATION = "1110", "1110: global configuration to the channels"
    ORDERS = "sync-orders", "Synchronize orders"
    VALIDATE = "validate", "Validate store transactions"
    CALCULATE = "calculate-statements", "Calculate transactional statements"
    POST = "post-statements", "Post transactional statements"
    END_OF_DAY = "eod", "End of day"
    VERIFY = "verify", "Check the promises"
    RECONCILE = "reconcile", "Compare with the channels"
    REPAIR = "repair", "Compare and repair"


# Where a schedule starts one of these often, each run leaves slow channels, and those in trouble,
# to runs of their own.
RECURRING_JOBS = (JobCode.PIPELINE, JobCode.UPLOAD, JobCode.DOWNLOAD)
# What a schedule may start again moments after it ended: these are done at once if there is
# nothing to do.
CONTINUOUS_JOBS = (*RECURRING_JOBS, JobCode.CONVERT, JobCode.ORDERS)
COMPARING_JOBS = (JobCode.RECONCILE, JobCode.REPAIR)
# What sends settings to the channels, and what sends anything.
CONFIGURATION_JOBS = (JobCode.CHANNEL_CONFIGURATION, JobCode.GLOBAL_CONFIGURATION)
SENDING_JOBS = (JobCode.DOWNLOAD, *CONFIGURATION_JOBS)


class StepCode(models.TextChoices):
    UPLOAD = "upload", "Upload"
    CONVERT = "convert", "Assign account numbers"
    DOWNLOAD = "download", "Send accounts"
    CHANNEL_CONFIGURATION = "1070", "Send channel configuration"
    GLOBAL_CONFIGURATION = "1110", "Send global configuration"
    RECONCILE = "reconcile", "Compare"
    REPAIR = "repair", "Compare and repair"
    ORDERS = "orders", "Create sales orders"
    VALIDATE = "validate", "Validate sales"
    CALCULATE = "calculate", "Calculate statements"
    POST = "post", "Post statements"
    VERIFY = "verify", "Check the promises"
