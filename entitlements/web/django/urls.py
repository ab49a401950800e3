"""Where the front end asks, to be included at a prefix of your choice."""

from __future__ import annotations

from django.urls import path

from .views import front

app_name = "entitlements"
urlpatterns = [path("<path:path>", front, name="front")]
