"""Reasons and decisions in words: log lines, messages, explanations. Pure."""
