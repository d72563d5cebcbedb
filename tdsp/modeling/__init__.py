"""Candidates, search and choice."""
