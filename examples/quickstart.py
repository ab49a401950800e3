"""The first ten minutes, in one file: run it with `python examples/quickstart.py`. It keeps nothing."""

from pathlib import Path

from entitlements import Entitlements

CATALOG = Path(__file__).with_name("catalog.yaml")

with Entitlements(CATALOG, storage="memory:") as ent:
    print("1.", ent.check("acme", "exports"))  # nobody subscribed: acme has the default plan

    ent.subscribe("acme", "pro")
    print("2.", ent.check("acme", "exports"))
    print("3.", ent.check("acme", "history", value=30))

    print("4.", ent.consume("acme", "seats", 18, key="invite-1"))
    print("5.", ent.consume("acme", "seats", 18, key="invite-1"))  # a retry takes nothing twice
    denied = ent.consume("acme", "seats", 3)
    print("6.", denied)
    print("  ", denied.code, denied.remaining, denied.upgrade)

    ent.add_addon("acme", "extra_seats")
    print("7.", ent.consume("acme", "seats", 3))

    print("8.", ent.explain("acme", "seats"))
