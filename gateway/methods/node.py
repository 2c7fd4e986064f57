"""What the node says of itself. It holds no keys: eth_accounts is empty and nothing is signed here."""

from gateway import parameters
from gateway.context import Context
from gateway.errors import SERVER_ERROR, RpcError
from gateway.methods.table import Json, Parameter, Table
from primitives.hexadecimal import to_data, to_quantity
from primitives.keccak import keccak256

TABLE = Table()


@TABLE.answer("web3_clientVersion")
async def client_version(context: Context) -> Json:
    return context.backend.status().client_version


@TABLE.answer("web3_sha3", Parameter("data", parameters.data))
async def sha3(context: Context, data: bytes) -> Json:
    return to_data(keccak256(data))


@TABLE.answer("net_version")
async def network_id(context: Context) -> Json:
    """In decimal digits, by custom; the network's id is the chain's."""
    return str(await context.read(lambda chain: chain.config.chain_id))


@TABLE.answer("net_listening")
async def is_listening(context: Context) -> Json:
    return context.backend.status().is_listening


@TABLE.answer("net_peerCount")
async def peer_count(context: Context) -> Json:
    return to_quantity(context.backend.status().peer_count)


@TABLE.answer("eth_chainId")
async def chain_id(context: Context) -> Json:
    return to_quantity(await context.read(lambda chain: chain.config.chain_id))


@TABLE.answer("eth_syncing")
async def syncing(context: Context) -> Json:
    progress = context.backend.status().sync
    if progress is None:
        return False
    return {
        "startingBlock": to_quantity(progress.starting_block),
        "currentBlock": to_quantity(progress.current_block),
        "highestBlock": to_quantity(progress.highest_block),
    }


@TABLE.answer("eth_accounts")
async def accounts(context: Context) -> Json:
    return []


@TABLE.answer("eth_coinbase")
async def coinbase(context: Context) -> Json:
    address = context.backend.status().coinbase
    if address is None:
        raise RpcError(SERVER_ERROR, "etherbase must be explicitly specified: this node earns no blocks")
    return to_data(address)


@TABLE.answer("eth_mining")
async def mining(context: Context) -> Json:
    return context.backend.status().is_mining


@TABLE.answer("eth_hashrate")
async def hash_rate(context: Context) -> Json:
    return to_quantity(context.backend.status().hashes_per_second)


@TABLE.answer("rpc_modules")
async def modules(context: Context) -> Json:
    return dict.fromkeys(("admin", "debug", "eth", "net", "rpc", "txpool", "wattchain", "web3"), "1.0")
