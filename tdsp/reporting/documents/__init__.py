"""The TDSP documents, filled from charter and record."""
