"""Django: middleware, a decorator for views, the front end's view, system checks and a command.

    INSTALLED_APPS = [..., "entitlements.web.django"]
    MIDDLEWARE = [..., "entitlements.web.django.middleware.entitlements"]     # after the sessions and who is signed in
    ENTITLEMENTS = {
        "CATALOG": BASE_DIR / "catalog.yaml",
        "STORAGE": "sqlite:///app.db",
        "CUSTOMER": "shop.accounts.customer_of",      # takes the request, returns an id, or None for nobody
    }

    path("entitlements/", include("entitlements.web.django.urls")),

It has no models: the log is the library's own.
"""
