"""The run record and the executed notebooks as pages and documents."""
