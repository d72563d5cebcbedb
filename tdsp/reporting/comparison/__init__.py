"""Differences between runs, and whether they matter."""
