"""Runs: configuration, training, run folders."""
