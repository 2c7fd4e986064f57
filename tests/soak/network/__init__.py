"""A soak of a whole network: `python -m tests.soak.network`. Real nodes, killed and cut off, always under load."""
