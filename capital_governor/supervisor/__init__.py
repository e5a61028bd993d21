"""Keeps agents running, for ``neo_light_fix.sh``. Of the package it imports only the reader of ``.env``."""
