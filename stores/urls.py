"""Every route, in page order."""

from django.urls import path, register_converter
from django.urls.converters import StringConverter

from stores.views import (
    channels,
    customers,
    exchanges,
    health,
    home,
    quarantine,
    runs,
    signin,
    staging,
    trace,
)


class ReferenceConverter(StringConverter):
    """What a person may look for: any text, slashes included, that a database can hold."""

    regex = r"[^\x00]+"


register_converter(ReferenceConverter, "reference")

urlpatterns = [
    path("", home.overview, name="home"),
    path("trace/", trace.search, name="trace-search"),
    path("trace/<reference:ref>/", trace.detail, name="trace"),
    path("async-customers/", staging.async_customer_list, name="async-customers"),
    path("customers/", customers.customer_list, name="customers"),
    path("customers/<reference:account>/", customers.customer_detail, name="customer"),
    path("quarantine/", quarantine.quarantine_list, name="quarantine"),
    path("jobs/", runs.job_list, name="jobs"),
    path("runs/", runs.run_list, name="runs"),
    path("runs/start/", runs.start_run, name="start-run"),
    path("runs/<uuid:pk>/", runs.run_detail, name="run"),
    path("runs/<uuid:pk>/cancel/", runs.cancel_run, name="cancel-run"),
    path("sessions/uploads/", exchanges.upload_list, name="uploads"),
    path("sessions/downloads/", exchanges.download_list, name="downloads"),
    path("channels/", channels.channel_list, name="channels"),
    path("channels/<slug:code>/", channels.channel_detail, name="channel"),
    path("sign-in/", signin.SignIn.as_view(), name="sign-in"),
    path("sign-in/<str:token>/", signin.sign_in_by_link, name="sign-in-link"),
    path("sign-out/", signin.sign_out, name="sign-out"),
    path("healthz", health.healthz, name="healthz"),
]
