"""The first block and the first state, from a genesis file in geth's JSON format.

The file printed in the El DApp paper (listing 2) is read as it stands: addresses without 0x, decimal numbers as text.
The same file always gives the same block hash, which is the identity of the chain.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from chain.account import EMPTY_CODE_HASH, EMPTY_TRIE_ROOT, Account, StateChanges
from chain.config import QBFT, ZERO, ChainConfig, parse_config, parse_integer
from chain.consensus.qbft import engine as qbft
from chain.consensus.qbft.validator_contract import InvalidValidators, validators_in_slots
from chain.consensus.qbft.validators import ValidatorSet
from chain.fees import MAX_GAS_LIMIT, MIN_GAS_LIMIT
from chain.header import EMPTY_OMMERS_HASH, MAX_EXTRA_DATA_BYTES, Header
from chain.receipt import EMPTY_BLOOM
from primitives import rlp
from primitives.errors import InvalidGenesis
from primitives.json_text import InvalidJson, parse_json
from primitives.keccak import keccak256

MAX_GENESIS_BYTES = 256 * 1024 * 1024
"""A file is parsed in memory; this holds more than a million accounts."""
MAX_SUPPLY = 2**255
"""Wei that all accounts of a genesis may hold together: balances are 256-bit numbers, and rewards come on top."""
INITIAL_BASE_FEE = 10**9  # EIP-1559
DEFAULT_DIFFICULTY = 131_072  # geth, where a file names none
DEFAULT_GAS_LIMIT = 4_712_388  # geth, where a file names none
_FIELDS = {"config", "nonce", "timestamp", "extraData", "gasLimit", "difficulty", "mixHash", "mixhash", "coinbase",
           "alloc", "number", "gasUsed", "parentHash", "baseFeePerGas", "excessBlobGas", "blobGasUsed"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Genesis:
    """A parsed genesis file. Its header lacks the state root until the state has been built."""

    config: ChainConfig
    state: StateChanges
    nonce: bytes
    timestamp_s: int
    extra_data: bytes
    gas_limit: int
    difficulty: int
    mix_hash: bytes
    coinbase: bytes
    base_fee_per_gas: int

    @property
    def state_digest(self) -> bytes:
        """32 bytes that tell this first state from any other, for much less work than its state root."""
        rows = [
            [
                address,
                [rlp.encode_int(account.nonce), rlp.encode_int(account.balance), account.code_hash],
                [[rlp.encode_int(slot), rlp.encode_int(value)] for slot, value in sorted(slots.items())],
            ]
            for address, account in sorted(self.state.accounts.items())
            if account is not None
            for slots in (self.state.storage.get(address, {}),)
        ]
        return keccak256(rlp.encode(rows))

    def validators(self) -> ValidatorSet:
        """Of block 1, on a qbft chain. Raises InvalidGenesis where the contract's storage in `alloc` names none."""
        contract = self.config.validator_contract
        slots = self.state.storage.get(contract, {})
        try:
            return validators_in_slots(lambda slot: slots.get(slot, 0))
        except InvalidValidators as error:
            raise InvalidGenesis(f"the storage of 0x{contract.hex()} in alloc: {error}") from error

    def header(self, state_root: bytes) -> Header:
        """The header of block 0 over the state with this root."""
        return Header(
            parent_hash=bytes(32),
            ommers_hash=EMPTY_OMMERS_HASH,
            coinbase=self.coinbase,
            state_root=state_root,
            transactions_root=EMPTY_TRIE_ROOT,
            receipts_root=EMPTY_TRIE_ROOT,
            logs_bloom=EMPTY_BLOOM,
            difficulty=self.difficulty,
            number=0,
            gas_limit=self.gas_limit,
            gas_used=0,
            timestamp_s=self.timestamp_s,
            extra_data=self.extra_data,
            mix_hash=self.mix_hash,
            nonce=self.nonce,
            base_fee_per_gas=self.base_fee_per_gas,
        )


def load_genesis(path: Path) -> Genesis:
    """The genesis in a file. Raises InvalidGenesis; OSError where the file cannot be read."""
    if path.stat().st_size > MAX_GENESIS_BYTES:
        raise InvalidGenesis(f"it is larger than {MAX_GENESIS_BYTES} bytes")
    try:
        document = parse_json(path.read_bytes(), _refuse_repeated_keys)
    except InvalidJson as error:
        raise InvalidGenesis(f"it is not valid JSON: {str(error).removeprefix('not JSON: ')}") from error
    return parse_genesis(document)


def parse_genesis(document: object) -> Genesis:
    """The genesis in a parsed JSON document. Raises InvalidGenesis."""
    if not isinstance(document, Mapping):
        raise InvalidGenesis("a genesis file is a JSON object")
    if unknown := set(document) - _FIELDS:
        raise InvalidGenesis(f"the genesis file has an unknown field `{min(unknown)}`")
    config = parse_config(document.get("config"))
    if parse_integer(document.get("number", 0), "number") != 0:
        raise InvalidGenesis("the genesis block's number must be 0")
    gas_limit = parse_integer(document.get("gasLimit", DEFAULT_GAS_LIMIT), "gasLimit", 64)
    if not MIN_GAS_LIMIT <= gas_limit <= MAX_GAS_LIMIT:
        raise InvalidGenesis(f"gasLimit must be from {MIN_GAS_LIMIT} to {MAX_GAS_LIMIT}, not {gas_limit}")
    is_qbft = config.consensus == QBFT
    difficulty = parse_integer(
        document.get("difficulty", qbft.DIFFICULTY if is_qbft else DEFAULT_DIFFICULTY), "difficulty"
    )
    if difficulty == 0:
        raise InvalidGenesis("difficulty must be at least 1")
    if is_qbft and difficulty != qbft.DIFFICULTY:
        raise InvalidGenesis(f"difficulty must be {qbft.DIFFICULTY} on a qbft chain, not {difficulty}")
    extra_data = _hex(document.get("extraData", ""), "extraData")
    if len(extra_data) > MAX_EXTRA_DATA_BYTES:
        raise InvalidGenesis(f"extraData must be at most {MAX_EXTRA_DATA_BYTES} bytes, not {len(extra_data)}")
    base_fee = document.get("baseFeePerGas")
    if config.fee_rule == ZERO and base_fee is not None and parse_integer(base_fee, "baseFeePerGas") != 0:
        raise InvalidGenesis("baseFeePerGas must be 0 on a network without fees")
    default_base_fee = 0 if config.fee_rule == ZERO else INITIAL_BASE_FEE
    genesis = Genesis(
        config,
        _parse_alloc(document.get("alloc", {})),
        parse_integer(document.get("nonce", 0), "nonce", 64).to_bytes(8, "big"),
        parse_integer(document.get("timestamp", 0), "timestamp", 64),
        extra_data,
        gas_limit,
        difficulty,
        _hex(document.get("mixHash", document.get("mixhash", "00" * 32)), "mixHash", 32),
        _hex(document.get("coinbase", "00" * 20), "coinbase", 20),
        default_base_fee if base_fee is None else parse_integer(base_fee, "baseFeePerGas"),
    )
    if is_qbft:
        genesis.validators()
    return genesis


def _parse_alloc(alloc: object) -> StateChanges:
    if not isinstance(alloc, Mapping):
        raise InvalidGenesis("alloc must map addresses to accounts")
    changes = StateChanges()
    for key, entry in alloc.items():
        address = _hex(key, "an address in alloc", 20)
        if address in changes.accounts:
            raise InvalidGenesis(f"alloc names the address 0x{address.hex()} twice")
        if not isinstance(entry, Mapping) or set(entry) - {"balance", "nonce", "code", "storage"}:
            raise InvalidGenesis(f"alloc of 0x{address.hex()} may hold balance, nonce, code and storage only")
        _parse_account(address, entry, changes)
    if sum([account.balance for account in changes.accounts.values() if account is not None]) > MAX_SUPPLY:
        raise InvalidGenesis("the accounts in alloc hold more than 2**255 wei together")
    return changes


def _parse_account(address: bytes, entry: Mapping[str, object], changes: StateChanges) -> None:
    where = f"alloc of 0x{address.hex()}"
    code = _hex(entry.get("code", ""), f"{where}: code")
    code_hash = EMPTY_CODE_HASH
    if code:
        code_hash = keccak256(code)
        changes.codes[code_hash] = code
    nonce = parse_integer(entry.get("nonce", 0), f"{where}: nonce", 64)
    account = Account(nonce, parse_integer(entry.get("balance", 0), f"{where}: balance"), code_hash)
    storage = entry.get("storage", {})
    if not isinstance(storage, Mapping):
        raise InvalidGenesis(f"{where}: storage must map slots to values")
    slots = {
        _word(slot, f"{where}: a slot"): value
        for slot, text in storage.items()
        if (value := _word(text, f"{where}: the value of slot {slot!r:.70}"))
    }
    if account == Account():
        if slots:
            raise InvalidGenesis(f"{where}: storage needs an account with a balance, a nonce or code (EIP-7523)")
        return  # an empty account does not exist (EIP-161)
    changes.accounts[address] = account
    if slots:
        changes.storage[address] = slots


def _word(text: object, name: str) -> int:
    """Up to 32 bytes of hexadecimal, 0x or not, padded or not."""
    digits = text.removeprefix("0x") if isinstance(text, str) else None
    if digits is None or not 0 < len(digits) <= 64 or any(c not in "0123456789abcdefABCDEF" for c in digits):
        raise InvalidGenesis(f"{name} must be up to 32 bytes of hexadecimal, got {text!r:.80}")
    return int(digits, 16)


def _hex(text: object, name: str, length: int | None = None) -> bytes:
    """Hexadecimal with or without 0x, as geth's format allows for addresses."""
    try:
        if not isinstance(text, str) or not text.isascii() or any(c.isspace() for c in text):
            raise ValueError
        value = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        raise InvalidGenesis(f"{name} must be hexadecimal, got {text!r:.80}") from None
    if length is not None and len(value) != length:
        raise InvalidGenesis(f"{name} must be {length} bytes, got {len(value)}")
    return value


def _refuse_repeated_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise InvalidGenesis(f"the genesis file names `{repeated}` twice in one place")
    return result
