"""Makes an agent from its settings: keys, clock, node and book put together."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from meter.agent.asking import Asker
from meter.agent.journal import Journal, only_agent
from meter.agent.runner import Runner
from meter.agent.settings import AgentSettings
from meter.signer import read_secret
from meter.watchdog import Liveness
from primitives.clock import SystemClock
from primitives.errors import UserError
from wallet.client import RpcClient
from wallet.key_directory import read_key_file
from wallet.keystore import decrypt_key, keystore_address
from wallet.ledger_identity import LedgerIdentity
from wallet.service_manager import ServiceManager

CREDENTIAL = "account-password"
"""The credential of systemd with the password, where the settings name no file."""

QUIET_S = 1_800.0
"""Neither a decision nor trouble for so long: an agent looks every five minutes at the latest, a look has some 60
questions, and a node that does not answer one of them is trouble at once."""


def make_liveness() -> Liveness:
    return Liveness(ServiceManager.from_environment(), SystemClock(), QUIET_S, "decision", "agent")


def owner_address(settings: AgentSettings) -> bytes:
    """The address in the owner's key file, without its password. Raises UserError, InvalidKeystore."""
    address = keystore_address(read_key_file(settings.account.key))
    if address is None:
        raise UserError(
            f"The key file {settings.account.key} does not name its address; import it with `wallet import`."
        )
    return address


def make_asker(settings: AgentSettings) -> Asker:
    """Secrets of sealed orders lie beside the book: where the folder of keys is there as well, `market reveal` finds
    them."""
    agent = settings.agent
    return Asker(owner_address(settings), agent.meter, agent.state, settings.ledger.confirmations)


def open_journal(settings: AgentSettings) -> Journal:
    return Journal(settings.agent.state, settings.ledger.chain_id, owner_address(settings))


def open_client(settings: AgentSettings) -> RpcClient:
    section = settings.ledger
    return RpcClient(section.node, spare_urls=section.spare_nodes, ledger=LedgerIdentity(section.chain_id))


@asynccontextmanager
async def open_agent(
    settings: AgentSettings, *, dry_run: bool, note: Callable[[str, bool], None] = lambda *_: None
) -> AsyncIterator[Runner]:
    """The one agent with this book; `note` hears how it gets on.

    The password is asked only where something is to be signed. Raises UserError, InvalidKeystore.
    """
    key = None
    if not dry_run:
        text = read_key_file(settings.account.key)
        prompt = f"Password of {settings.account.key}"
        key = decrypt_key(text, read_secret(CREDENTIAL, settings.account.password_file, prompt))
    with only_agent(settings.agent.state), open_journal(settings) as journal:
        async with open_client(settings) as client:
            yield Runner(
                client,
                make_asker(settings),
                journal,
                settings.limits(),
                key,
                settings.clock.make(),
                chain_id=settings.ledger.chain_id,
                confirmations=settings.ledger.confirmations,
                max_fee_wei=settings.ledger.max_fee_wei,
                greatest_fees_wei=settings.greatest_fees_wei(),
                interval_s=settings.agent.interval_s,
                note=note,
            )
