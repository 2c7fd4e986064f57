"""A node and a meter that are killed again and again, and the books afterwards: `python -m tests.soak`."""
