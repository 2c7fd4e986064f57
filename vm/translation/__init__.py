"""Hot code as Python functions: an optional second way to run what vm.interpreter runs block by block."""
