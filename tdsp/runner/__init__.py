"""Hand-written process machinery: what runs the notebooks."""
