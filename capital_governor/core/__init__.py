"""The decision: pure functions over frozen dataclasses. Imports nothing else of the package."""
