"""An embedded source of ``/meta/metrics`` for those who have no dashboard; knows nothing of the governor."""
