"""Observing: what an engine decides, in logs, metrics and events. Nothing is ever labelled by customer."""
