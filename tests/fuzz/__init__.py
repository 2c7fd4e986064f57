"""Random programs run by our interpreter and by an independent one (revm, through pyrevm)."""
