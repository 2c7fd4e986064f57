"""Programs that run inside the environment of a peer, not in ours: they import nothing of this project."""
