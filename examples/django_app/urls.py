"""Where the views are, and where a front end asks."""

from django.urls import include, path

from . import views

urlpatterns = [
    path("sign-in/<account>", views.sign_in),
    path("messages", views.send_message),
    path("slow-messages", views.send_slowly),
    path("export", views.export),
    path("slow-export", views.export_slowly),
    path("entitlements/", include("entitlements.web.django.urls")),
]
