"""Metrics, their uncertainty, gates, and the theme of figures."""
