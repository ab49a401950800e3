"""What Django needs before anything of it is imported: the settings of the example project."""

import os

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "examples.django_app.settings"
django.setup()
