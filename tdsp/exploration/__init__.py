"""What the training rows show."""
