"""The decision: pure functions over frozen dataclasses. Imports nothing of the package but itself."""
