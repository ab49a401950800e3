"""Reports for people: what was decided and why."""
