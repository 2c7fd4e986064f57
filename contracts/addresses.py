"""Where the contracts stand on a Wattchain ledger: fixed addresses, placed there by the genesis state.

Above the range that Ethereum reserves for precompiled contracts (0x01 to 0x01ff). On another chain they are deployed
like any contract and these do not hold.
"""

METER_ADDRESS = bytes.fromhex("0000000000000000000000000000000000001001")
EXHAUSTION_ADDRESS = bytes.fromhex("0000000000000000000000000000000000001002")
VALIDATORS_ADDRESS = bytes.fromhex("0000000000000000000000000000000000001003")
