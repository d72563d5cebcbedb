"""Functions of the stage notebooks, one module a notebook."""
