"""MLflow: runs, model versions, and which one serves."""
