"""Settings: the environment and ``.env``, checked as a whole."""
