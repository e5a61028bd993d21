"""A built-in source of ``/meta/metrics`` for fleets without a dashboard; imports nothing of the governor."""
