"""What keeps processes alive. Standard library only, and nothing of the rest of the package."""
