"""What differs between runs, and whether it matters."""
