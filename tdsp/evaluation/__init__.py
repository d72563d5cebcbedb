"""Scores with their uncertainty, calibration, importance, weak slices and fairness."""
