"""`python -m node` is the `wattchain` command."""

from node.cli import main

if __name__ == "__main__":
    main(prog_name="wattchain")
