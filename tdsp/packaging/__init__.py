"""The bundle: a fitted pipeline with its schema and what proves it."""
