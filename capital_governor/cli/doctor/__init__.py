"""``doctor``: what commonly goes wrong, each with its remedy. A module for each thing that is looked at."""
