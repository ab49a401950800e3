"""The application that Django installs."""

from __future__ import annotations

from django.apps import AppConfig
from django.core import checks


class EntitlementsConfig(AppConfig):
    """What customers may do, in a Django project."""

    name = "entitlements.web.django"
    label = "entitlements"
    verbose_name = "Entitlements"

    def ready(self) -> None:
        """Register the system checks."""
        from .checking import check_catalog, check_functions, check_gates, check_storage  # noqa: PLC0415  (apps first)

        for check in (check_catalog, check_functions, check_storage, check_gates):
            checks.register(check)
