"""Facts and findings about the training rows."""
