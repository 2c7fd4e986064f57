"""What code can learn of its call, its transaction, its block and other accounts (0x30 to 0x4a)."""

from vm.errors import OutOfGas, ReturnDataOutOfBounds
from vm.frame import Frame
from vm.gas import COLD_ACCOUNT_SURCHARGE, COPY_WORD, words

ADDRESS_MASK = 2**160 - 1

# BLOCKHASH answers for so many blocks before the present one.
BLOCK_HASH_WINDOW = 256


def to_address(word: int) -> bytes:
    """The 20 bytes that a word means as an address."""
    return (word & ADDRESS_MASK).to_bytes(20, "big")


def access_account(frame: Frame, word: int) -> bytes:
    """The address in a word, marked as accessed, what it costs more when cold charged (EIP-2929)."""
    address = (word & ADDRESS_MASK).to_bytes(20, "big")
    if not frame.host.warm_address(address):
        frame.charge(COLD_ACCOUNT_SURCHARGE)
    return address


def padded_slice(data: bytes, offset: int, length: int) -> bytes:
    """A range of data in which everything beyond the end is zero."""
    found = data[offset : offset + length]
    return found if len(found) == length else found + bytes(length - len(found))


def call_data_word(data: bytes, offset: int) -> int:
    """The 32 bytes at an offset, zeros beyond the end."""
    found = data[offset : offset + 32]
    return int.from_bytes(found, "big") << 8 * (32 - len(found))


def copy_to_memory(frame: Frame, source: bytes, target: int, offset: int, length: int) -> None:
    """Copy a range of source into memory, zeros beyond its end, and pay for words and memory."""
    if not length:
        return
    frame.charge(COPY_WORD * words(length))
    frame.expand(target, length)
    frame.memory.write(target, padded_slice(source, offset, length))


def address(frame: Frame) -> None:
    frame.stack.append(int.from_bytes(frame.address, "big"))


def balance(frame: Frame) -> None:
    stack = frame.stack
    stack[-1] = frame.host.balance(access_account(frame, stack[-1]))


def origin(frame: Frame) -> None:
    frame.stack.append(int.from_bytes(frame.environment.transaction.origin, "big"))


def caller(frame: Frame) -> None:
    frame.stack.append(int.from_bytes(frame.caller, "big"))


def callvalue(frame: Frame) -> None:
    frame.stack.append(frame.value)


def calldataload(frame: Frame) -> None:
    stack = frame.stack
    stack[-1] = call_data_word(frame.data, stack[-1])


def calldatasize(frame: Frame) -> None:
    frame.stack.append(len(frame.data))


def calldatacopy(frame: Frame) -> None:
    pop = frame.stack.pop
    copy_to_memory(frame, frame.data, pop(), pop(), pop())


def codesize(frame: Frame) -> None:
    frame.stack.append(len(frame.code))


def codecopy(frame: Frame) -> None:
    pop = frame.stack.pop
    copy_to_memory(frame, frame.code, pop(), pop(), pop())


def gasprice(frame: Frame) -> None:
    frame.stack.append(frame.environment.transaction.gas_price)


def extcodesize(frame: Frame) -> None:
    stack = frame.stack
    stack[-1] = len(frame.host.code(access_account(frame, stack[-1])))


def extcodecopy(frame: Frame) -> None:
    pop = frame.stack.pop
    account = access_account(frame, pop())
    target, offset, length = pop(), pop(), pop()
    # Every word of the copy costs gas: do not read the code for a copy that cannot be paid.
    if COPY_WORD * words(length) > frame.gas:
        raise OutOfGas
    copy_to_memory(frame, frame.host.code(account), target, offset, length)


def extcodehash(frame: Frame) -> None:
    stack = frame.stack
    account = access_account(frame, stack[-1])
    host = frame.host
    stack[-1] = 0 if host.is_empty(account) else int.from_bytes(host.code_hash(account), "big")


def returndatasize(frame: Frame) -> None:
    frame.stack.append(len(frame.return_data))


def returndatacopy(frame: Frame) -> None:
    pop = frame.stack.pop
    target, offset, length = pop(), pop(), pop()
    if offset + length > len(frame.return_data):
        raise ReturnDataOutOfBounds
    copy_to_memory(frame, frame.return_data, target, offset, length)


def blockhash(frame: Frame) -> None:
    stack = frame.stack
    number = stack[-1]
    block = frame.environment.block
    if block.number - BLOCK_HASH_WINDOW <= number < block.number:
        stack[-1] = int.from_bytes(block.block_hash(number), "big")
    else:
        stack[-1] = 0


def coinbase(frame: Frame) -> None:
    frame.stack.append(int.from_bytes(frame.environment.block.coinbase, "big"))


def timestamp(frame: Frame) -> None:
    frame.stack.append(frame.environment.block.timestamp_s)


def number(frame: Frame) -> None:
    frame.stack.append(frame.environment.block.number)


def prevrandao(frame: Frame) -> None:
    frame.stack.append(frame.environment.block.prev_randao)


def gaslimit(frame: Frame) -> None:
    frame.stack.append(frame.environment.block.gas_limit)


def chainid(frame: Frame) -> None:
    frame.stack.append(frame.environment.block.chain_id)


def selfbalance(frame: Frame) -> None:
    frame.stack.append(frame.host.balance(frame.address))


def basefee(frame: Frame) -> None:
    frame.stack.append(frame.environment.block.base_fee)


def blobhash(frame: Frame) -> None:
    stack = frame.stack
    hashes = frame.environment.transaction.blob_hashes
    stack[-1] = int.from_bytes(hashes[stack[-1]], "big") if stack[-1] < len(hashes) else 0


def blobbasefee(frame: Frame) -> None:
    frame.stack.append(frame.environment.block.blob_base_fee)
