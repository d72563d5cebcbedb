"""Drift, broken columns, accuracy within bounds and what follows from them."""
