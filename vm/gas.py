"""What things cost under Cancun rules: constants and formulas (Yellow Paper appendix G with the EIPs named below).

Static costs of single instructions stand in the table of vm.opcodes.
"""

STACK_LIMIT = 1024
CALL_DEPTH_LIMIT = 1024

# Access (EIP-2929). The warm cost of an address or slot is what its instruction pays at the least.
WARM_ACCESS = 100
COLD_ACCOUNT_ACCESS = 2600
COLD_STORAGE_ACCESS = 2100
COLD_ACCOUNT_SURCHARGE = COLD_ACCOUNT_ACCESS - WARM_ACCESS
COLD_SLOAD_SURCHARGE = COLD_STORAGE_ACCESS - WARM_ACCESS

# Storage (EIP-2200, EIP-2929, EIP-3529).
STORAGE_SENTRY = 2300
STORAGE_SET = 20000
STORAGE_RESET = 5000 - COLD_STORAGE_ACCESS
STORAGE_CLEAR_REFUND = 4800

# Memory, copying, hashing, logs.
MEMORY_WORD = 3
MEMORY_QUADRATIC_DIVISOR = 512
COPY_WORD = 3
KECCAK_WORD = 6
LOG_BYTE = 8
EXPONENT_BYTE = 50

# Calls and creates.
CALL_VALUE = 9000
CALL_STIPEND = 2300
NEW_ACCOUNT = 25000
CODE_DEPOSIT_BYTE = 200
INIT_CODE_WORD = 2
MAX_CODE_BYTES = 24576
"""EIP-170."""
MAX_INIT_CODE_BYTES = 2 * MAX_CODE_BYTES
"""EIP-3860."""
MAX_NONCE = 2**64 - 1
"""EIP-2681."""


def words(length: int) -> int:
    """How many 32-byte words hold so many bytes."""
    return (length + 31) // 32


def memory_cost(length: int) -> int:
    """The gas that memory of so many bytes (a multiple of 32) has cost in all."""
    count = length // 32
    return MEMORY_WORD * count + count * count // MEMORY_QUADRATIC_DIVISOR


def all_but_one_64th(gas: int) -> int:
    """The most that a frame may hand to one that it calls (EIP-150)."""
    return gas - gas // 64


def storage_cost_and_refund(original: int, current: int, value: int) -> tuple[int, int]:
    """Gas of a write to a warm slot and the change of the refund counter (EIP-2200 with the numbers of EIP-3529).

    `original` is the slot's value when the transaction began.
    """
    if value == current:
        return WARM_ACCESS, 0
    if current == original:
        if original == 0:
            return STORAGE_SET, 0
        return STORAGE_RESET, STORAGE_CLEAR_REFUND if value == 0 else 0
    refund = 0
    if original != 0:
        if current == 0:
            refund -= STORAGE_CLEAR_REFUND
        elif value == 0:
            refund += STORAGE_CLEAR_REFUND
    if value == original:
        refund += (STORAGE_SET if original == 0 else STORAGE_RESET) - WARM_ACCESS
    return WARM_ACCESS, refund
