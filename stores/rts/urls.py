"""The routes of the service."""

from django.urls import path

from stores.rts import views

urlpatterns = [
    path("v1/customers", views.customers, name="rts-customers"),
    path("v1/accounts/<str:async_account>", views.account, name="rts-account"),
    path("v1/openapi.json", views.openapi, name="rts-openapi"),
    path("", views.not_found),
    path("<path:rest>", views.not_found),
]
