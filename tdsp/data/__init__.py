"""From a URI to a split table."""
