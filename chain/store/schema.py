"""The tables of the ledger's database, and what marks a file as one.

Everything random is small and everything large is in the order of block numbers, because SQLite writes whole pages: on
an SD card a row in a random place costs as much as four thousand bytes in a row.
"""

APPLICATION_ID = 0x57415454
""""WATT", in the file's header: tells our databases from everybody else's."""

SCHEMA_VERSION = 3

TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;

-- A block's id is its number * 65536 + a counter among blocks of that number, so that all tables of blocks grow at
-- their end; `total_difficulty` is big-endian.
CREATE TABLE headers (
    id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, total_difficulty BLOB NOT NULL, header BLOB NOT NULL);
CREATE TABLE bodies (id INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE receipts (id INTEGER PRIMARY KEY, receipts BLOB NOT NULL);
-- What proves a block beside its header; only blocks that came with something have a row.
CREATE TABLE certificates (id INTEGER PRIMARY KEY, certificate BLOB NOT NULL);
CREATE TABLE canonical (number INTEGER PRIMARY KEY, id INTEGER NOT NULL, hash BLOB NOT NULL);

-- Where canonical transactions are. `prefix`: the first 48 bits of the hash; `position`: number * 65536 + index.
-- `epoch`: see transaction_index.py.
CREATE TABLE transaction_index (
    epoch INTEGER, prefix INTEGER, position INTEGER, PRIMARY KEY (epoch, prefix, position)) WITHOUT ROWID;

-- The present state. Accounts, and the branches and extensions of their trie: see account_table.py. A bucket's id is
-- the first 16 bits of its accounts' keys; an upper node's is its path read as a hexadecimal number, a 1 before it.
CREATE TABLE buckets (id INTEGER PRIMARY KEY, row BLOB NOT NULL);
CREATE TABLE upper_nodes (id INTEGER PRIMARY KEY, node BLOB NOT NULL);

-- Slots by the keccak-256 of their number, as in the storage tries, whose leaves these rows are; the other nodes of
-- those tries by their path, one byte a nibble.
CREATE TABLE slots (
    address BLOB, key BLOB, value BLOB NOT NULL, PRIMARY KEY (address, key)) WITHOUT ROWID;
CREATE TABLE slot_nodes (
    address BLOB, path BLOB, node BLOB NOT NULL, PRIMARY KEY (address, path)) WITHOUT ROWID;
CREATE TABLE codes (hash BLOB PRIMARY KEY, code BLOB NOT NULL);
-- By the keccak-256 of the address: of accounts that have storage, or had.
CREATE TABLE storage_addresses (key BLOB PRIMARY KEY, address BLOB NOT NULL) WITHOUT ROWID;

-- What each block replaced; NULL where there was nothing.
CREATE TABLE undo_roots (number INTEGER PRIMARY KEY, root BLOB NOT NULL);
CREATE TABLE undo_accounts (
    number INTEGER, key BLOB, record BLOB, PRIMARY KEY (number, key)) WITHOUT ROWID;
CREATE TABLE undo_slots (
    number INTEGER, address BLOB, key BLOB, value BLOB, PRIMARY KEY (number, address, key)) WITHOUT ROWID;
"""

STATE_TABLES = ("buckets", "upper_nodes", "slots", "slot_nodes", "storage_addresses")
"""Of the present state; codes are kept whichever state they are of."""

UNDO_TABLES = ("undo_roots", "undo_accounts", "undo_slots")

UPGRADES = {
    1: "CREATE TABLE certificates (id INTEGER PRIMARY KEY, certificate BLOB NOT NULL);",
    2: """
CREATE TABLE storage_addresses (key BLOB PRIMARY KEY, address BLOB NOT NULL) WITHOUT ROWID;
INSERT INTO storage_addresses SELECT keccak256(address), address FROM
    (SELECT DISTINCT address FROM slots UNION SELECT DISTINCT address FROM undo_slots);
""",
}
"""What makes of the tables of a version those of the next. `keccak256` is there for them."""

ARCHIVE_TABLES = """
-- In an archive alone: in which blocks a key was replaced, for finding the undo row among millions of blocks.
CREATE TABLE account_history (key BLOB, number INTEGER, PRIMARY KEY (key, number)) WITHOUT ROWID;
CREATE TABLE slot_history (
    address BLOB, key BLOB, number INTEGER, PRIMARY KEY (address, key, number)) WITHOUT ROWID;
INSERT INTO account_history SELECT key, number FROM undo_accounts;
INSERT INTO slot_history SELECT address, key, number FROM undo_slots;
"""

FETCH_TABLES = """
-- A state that is being fetched, beside the one that holds until it is complete. Headers above the last executed block,
-- by number, with the receipts that were needed to check the next ones (empty for most).
CREATE TABLE fetched_headers (
    number INTEGER PRIMARY KEY, header BLOB NOT NULL, certificate BLOB NOT NULL, receipts BLOB NOT NULL);

-- `address`: of an account with storage, else empty. `owner`: empty for the account trie, else the account's key.
CREATE TABLE fetched_accounts (key BLOB PRIMARY KEY, record BLOB NOT NULL, address BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE fetched_slots (owner BLOB, key BLOB, value BLOB NOT NULL, PRIMARY KEY (owner, key)) WITHOUT ROWID;

-- Places below which all rows are here, with the hash of the node there, and places that have to be asked for. (No
-- semicolon in these comments: it ends a statement.)
CREATE TABLE fetched_pieces (owner BLOB, path BLOB, hash BLOB NOT NULL, PRIMARY KEY (owner, path)) WITHOUT ROWID;
CREATE TABLE wanted_pieces (owner BLOB, path BLOB, hash BLOB NOT NULL, PRIMARY KEY (owner, path)) WITHOUT ROWID;
CREATE TABLE wanted_codes (hash BLOB PRIMARY KEY) WITHOUT ROWID;
"""

FETCH_TABLE_NAMES = (
    "fetched_headers", "fetched_accounts", "fetched_slots", "fetched_pieces", "wanted_pieces", "wanted_codes",
)  # fmt: skip
