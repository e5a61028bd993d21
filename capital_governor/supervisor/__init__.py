"""Keeps agents running, for ``neo_light_fix.sh``. Of the rest of the package it uses the reader of ``.env`` alone."""
