"""Closed forms that the rules are tested against."""
