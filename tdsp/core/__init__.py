"""Errors, files, the environment, and the typed record of a run."""
