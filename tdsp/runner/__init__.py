"""Runs the notebooks and keeps the record true."""
