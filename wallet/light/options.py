"""What all commands of the light client take, and the client that they get for it."""

from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from wallet.client import RpcClient
from wallet.command_line import DEFAULT_NODE, WholeNumber, json_option
from wallet.light.client import LightClient
from wallet.light.follower import Follower, Listener
from wallet.light.source import NodeSource
from wallet.light.store import LightStore
from wallet.light.trust import load_trust

DEFAULT_GENESIS = "~/.wattchain"
DEFAULT_FOLDER = "~/.wattchain/light"

_Answer = TypeVar("_Answer")
_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Options:
    """What all commands take."""

    nodes: tuple[str, ...]
    genesis: Path
    settings: Path | None
    folder: Path
    as_json: bool


def light_options(function: _Command) -> _Command:
    """The options of all commands, handed over as one value."""

    def command(
        *arguments: Any,
        nodes: Sequence[str],
        genesis: Path,
        settings: Path | None,
        folder: Path,
        as_json: bool,
        **own: Any,
    ) -> Any:
        unique = tuple(dict.fromkeys(url.rstrip("/") for url in nodes))
        options = Options(unique, genesis.expanduser(), settings, folder.expanduser(), as_json)
        return function(*arguments, options=options, **own)

    command.__name__, command.__doc__ = function.__name__, function.__doc__
    command.__click_params__ = getattr(function, "__click_params__", [])  # type: ignore[attr-defined]
    decorated: Any = command
    for option in (_node_option, _genesis_option, _settings_option, _folder_option, json_option):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


_node_option = click.option(
    "--node",
    "nodes",
    multiple=True,
    envvar="WATTCHAIN_NODE",
    default=(DEFAULT_NODE,),
    show_default=True,
    metavar="URL",
    help="A node to ask; give several, and one that lies or sleeps is found out (or set WATTCHAIN_NODE).",
)
_genesis_option = click.option(
    "--genesis",
    envvar="WATTCHAIN_GENESIS",
    default=DEFAULT_GENESIS,
    show_default=True,
    type=click.Path(path_type=Path),
    help="The network's genesis file, or a folder with it: all that is trusted (or set WATTCHAIN_GENESIS).",
)
_settings_option = click.option(
    "--settings",
    type=click.Path(path_type=Path),
    help="A wattchain.toml with overrides of validators; where not named, the one beside the genesis file.",
)
_folder_option = click.option(
    "--folder",
    envvar="WATTCHAIN_LIGHT",
    default=DEFAULT_FOLDER,
    show_default=True,
    type=click.Path(path_type=Path),
    help="Where proved headers are kept, less than 2 MB for each network (or set WATTCHAIN_LIGHT).",
)
confirmations_option = click.option(
    "--confirmations",
    type=WholeNumber(min=1, max=256),
    default=1,
    show_default=True,
    help="Answer from a block with so many confirmations; of use with proof of work, where the newest may be replaced.",
)


@asynccontextmanager
async def opened_client(options: Options, on_headers: Listener | None) -> AsyncIterator[tuple[LightClient, LightStore]]:
    trust = load_trust(options.genesis, options.settings)
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(RpcClient(url)) for url in options.nodes]
        store = stack.enter_context(LightStore.open(options.folder, trust))
        follower = Follower(trust, store, on_headers)
        yield LightClient(trust, store, follower, [NodeSource(client) for client in clients]), store


async def with_client(
    options: Options,
    run: Callable[[LightClient, LightStore], Coroutine[Any, Any, _Answer]],
    on_headers: Listener | None = None,
) -> _Answer:
    async with opened_client(options, on_headers) as (client, store):
        return await run(client, store)
