"""The smallest Django project with plans. It keeps nothing but the log, and that in memory."""

import secrets
from pathlib import Path

SECRET_KEY = secrets.token_hex()
DEBUG = True
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "examples.django_app.urls"
INSTALLED_APPS = ["django.contrib.sessions", "entitlements.web.django"]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "entitlements.web.django.middleware.entitlements",
]
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
USE_TZ = True

ENTITLEMENTS = {
    "CATALOG": Path(__file__).parents[1] / "fastapi_app" / "catalog.yaml",
    "STORAGE": "memory:",
    "CUSTOMER": "examples.django_app.views.customer_of",
}
