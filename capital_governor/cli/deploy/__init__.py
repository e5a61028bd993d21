"""``deploy``: templates for other programs that keep the governor running or watch it, a module for each."""
