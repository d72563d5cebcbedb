"""What people write: parameters, charter, contract."""
