"""The jobs as retailers know them, and the steps that each is made of."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from stores.models import RunStep
from stores.models.job import JobCode, StepCode
from stores.pipeline.configuration.distribute import (
    send_channel_configuration,
    send_global_configuration,
)
from stores.pipeline.convert.convert import convert_customers
from stores.pipeline.download.download import download_accounts
from stores.pipeline.integrity.job import check_promises
from stores.pipeline.integrity.reconcile import compare_channel, repair_channel
from stores.pipeline.sales.orders import synchronize_orders
from stores.pipeline.sales.statements import calculate_statements, post_statements
from stores.pipeline.sales.validate import validate_transactions
from stores.pipeline.upload.upload import upload_events

# The jobs that can be limited to the sales of one business date.
DATED_JOBS = (JobCode.VALIDATE, JobCode.CALCULATE, JobCode.POST, JobCode.END_OF_DAY)


@dataclass(frozen=True)
class Step:
    """One step of the ring: its word, its function, and what it is done once for.

    Its function is given its row, and its channel or company if that is its place. One job of the
    queue does the step in up to `together` places, where little is expected of them. Whoever starts
    it on a page needs the `permission`.
    """

    code: StepCode
    function: Callable[..., None]
    per: Literal["database", "channel", "company", "run"]
    together: int = 1
    permission: str = "stores.run_job"

    def execute(self, row: RunStep) -> None:
        """Do it in the place of this row."""
        if self.per in ("channel", "company"):
            self.function(row, getattr(row, self.per))
        else:
            self.function(row)


@dataclass(frozen=True)
class Job:
    """A job as retailers know it: its steps in order, and names that find it beside code and title.

    One that `waits_while_busy` waits a while for another run that is doing one of its steps.
    """

    code: JobCode
    sentence: str
    steps: tuple[Step, ...]
    names: tuple[str, ...] = ()
    waits_while_busy: bool = False

    @property
    def title(self) -> str:
        return str(self.code.label)

    def step(self, code: str) -> Step:
        return next(step for step in self.steps if step.code == code)

    @property
    def has_conversion(self) -> bool:
        return CONVERT in self.steps

    @property
    def covers_everything(self) -> bool:
        """Whether it looks at everything, and cannot be limited to a channel."""
        return all(step.per == "run" for step in self.steps)

    @property
    def permissions(self) -> tuple[str, ...]:
        """The permissions that a user needs to start it: those of all its steps."""
        return tuple(dict.fromkeys(step.permission for step in self.steps))

    @property
    def takes_date(self) -> bool:
        return self.code in DATED_JOBS


# Most of the time a channel has nothing new: ten thousand of them are hundreds of jobs.
UPLOAD = Step(StepCode.UPLOAD, upload_events, per="database", together=50)
CONVERT = Step(StepCode.CONVERT, convert_customers, per="company")
DOWNLOAD = Step(StepCode.DOWNLOAD, download_accounts, per="database", together=50)
CHANNEL_CONFIGURATION = Step(
    StepCode.CHANNEL_CONFIGURATION, send_channel_configuration, per="database", together=50
)
GLOBAL_CONFIGURATION = Step(
    StepCode.GLOBAL_CONFIGURATION, send_global_configuration, per="database", together=50
)
RECONCILE = Step(StepCode.RECONCILE, compare_channel, per="database")
REPAIR = Step(StepCode.REPAIR, repair_channel, per="database")
ORDERS = Step(StepCode.ORDERS, synchronize_orders, per="channel")
VALIDATE = Step(StepCode.VALIDATE, validate_transactions, per="channel")
CALCULATE = Step(
    StepCode.CALCULATE, calculate_statements, per="channel", permission="stores.calc_statement"
)
POST = Step(StepCode.POST, post_statements, per="channel", permission="stores.post_statement")
VERIFY = Step(StepCode.VERIFY, check_promises, per="run")

JOBS: dict[str, Job] = {
    job.code: job
    for job in (
        Job(
            JobCode.PIPELINE,
            "Runs the P-job, conversion and 1010 in order.",
            (UPLOAD, CONVERT, DOWNLOAD),
        ),
        Job(
            JobCode.UPLOAD,
            "Uploads all new events from the channels to headquarters.",
            (UPLOAD,),
            ("p-job",),
        ),
        Job(
            JobCode.CONVERT,
            "Assigns an account number to every uploaded customer.",
            (CONVERT,),
            ("synchronize-customers-and-business-partners-from-async-mode",),
        ),
        Job(
            JobCode.DOWNLOAD,
            "Sends accounts and changes to every channel.",
            (DOWNLOAD,),
        ),
        Job(
            JobCode.CHANNEL_CONFIGURATION,
            "Sends every channel its functionality profile, affiliations and default values.",
            (CHANNEL_CONFIGURATION,),
            ("channel-configuration",),
        ),
        Job(
            JobCode.GLOBAL_CONFIGURATION,
            "Sends every channel the features, attributes and limits of its company.",
            (GLOBAL_CONFIGURATION,),
            ("global-configuration",),
        ),
        Job(
            JobCode.ORDERS,
            "Creates sales orders from customer orders, including their customers and addresses.",
            (ORDERS,),
        ),
        Job(
            JobCode.VALIDATE,
            "Checks sales and orders that are not posted yet against every rule.",
            (VALIDATE,),
        ),
        Job(
            JobCode.CALCULATE,
            "Adds validated sales to the statements of their business dates.",
            (CALCULATE,),
        ),
        Job(
            JobCode.POST,
            "Creates orders, invoices and payments from calculated statements.",
            (POST,),
        ),
        Job(
            JobCode.END_OF_DAY,
            "Runs the P-job, validation, calculation and posting in order.",
            (UPLOAD, VALIDATE, CALCULATE, POST),
            waits_while_busy=True,
        ),
        Job(
            JobCode.VERIFY,
            "Checks in all databases that every promise holds. Changes nothing.",
            (VERIFY,),
        ),
        Job(
            JobCode.RECONCILE,
            "Compares headquarters with each channel, both ways. Changes nothing.",
            (RECONCILE,),
        ),
        Job(
            JobCode.REPAIR,
            "Compares, uploads again what headquarters lacks and sends again what did not arrive.",
            (REPAIR,),
        ),
    )
}


def find_job(name: str) -> Job | None:
    """The job that answers to a name, whatever the case and with spaces or hyphens."""
    key = "-".join(name.lower().split())
    for job in JOBS.values():
        if key in ("-".join(word.lower().split()) for word in (job.code, job.title, *job.names)):
            return job
    return None
