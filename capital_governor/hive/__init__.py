"""An embedded source of ``/meta/metrics`` for those who have no dashboard; imports nothing else of the package."""
