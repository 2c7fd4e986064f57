"""The option by which every command of a node is told which one it is about."""

from pathlib import Path

import click

from node.settings import DEFAULT_DATA_DIRECTORY

data_directory_option = click.option(
    "--data-dir",
    "data_directory",
    envvar="WATTCHAIN_DATA",
    default=str(DEFAULT_DATA_DIRECTORY),
    show_default=True,
    metavar="FOLDER",
    callback=lambda _context, _option, value: Path(value).expanduser(),
    help="The folder with the node's ledger and settings (or set WATTCHAIN_DATA).",
)
