"""Files that people write: parameters, charter, contract."""
