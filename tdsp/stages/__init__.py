"""What the stage notebooks call, one module a notebook."""
