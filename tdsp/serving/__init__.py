"""Predictions: batches and HTTP."""
