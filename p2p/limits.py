"""Every limit of the peer-to-peer part with its reason. Modelled on Bitcoin Core and geth, sized for a Raspberry Pi.

Times are seconds of the machine's own clock for sockets, and of the node's Clock for bans, points and backoff. Sizes of
blocks and transactions are the chain's own.
"""

from chain.block import MAX_BLOCK_BYTES
from chain.consensus.qbft import messages as qbft
from chain.pool.admission import MAX_TRANSACTION_BYTES
from chain.state_pieces import MAX_PIECE_BYTES

# ---- the encrypted transport ---------------------------------------------------------------------------------------

CONNECT_TIME_S = 15.0
"""To reach a peer by TCP, as in geth: the system's own limit of two minutes would block a dialing slot."""
HANDSHAKE_TIME_S = 10.0
"""For the three messages of the handshake: a Pi computes them in milliseconds, and Wi-Fi may lose a packet or two.
geth grants 5 s. A stranger can hold a socket without having said anything no longer than this."""
IDLE_TIME_S = 90.0
"""Silence after which a peer counts as gone: three pings unanswered. Bitcoin Core waits for 20 minutes; a Pi without
power should be noticed sooner."""
PING_INTERVAL_S = 30.0
"""Keeps the connection tracking of home routers awake; between Bitcoin Core's two minutes and geth's 15 s."""
MESSAGE_TIME_S = 60.0
"""From the first frame of a message to its last: the largest block over some 140 kB/s of poor Wi-Fi."""
SEND_TIME_S = 60.0
"""A peer that takes nothing from a full write buffer for so long is not reading."""
CLOSE_TIME_S = 2.0
"""To say goodbye; then the socket is closed without."""
WRITE_BUFFER_BYTES = 256 * 1024
"""Encrypted bytes that wait for one peer's socket before senders have to wait as well: four frames."""
MAX_UNSENT_BYTES = 16 * 1024 * 1024
"""Messages that wait for one peer: one of the largest answers and a block. With 50 slow peers, a Pi with 1 GB lives."""
REKEY_INTERVAL_FRAMES = 1_000
"""Frames of one direction under one key, the number of Lightning's BOLT 8: whoever finds a key in a node's memory
cannot read what was sent long before. Part of the protocol: both sides have to count alike."""

# ---- messages ------------------------------------------------------------------------------------------------------

MAX_UNKNOWN_MESSAGE_BYTES = 64 * 1024
"""A message of a type that only newer versions know is read up to this size, so that it can be skipped."""
MAX_CLIENT_VERSION_CHARACTERS = 128
"""Name, version and platform, as geth writes them; it goes into logs and tables."""
MAX_TOTAL_DIFFICULTY_BYTES = 32
"""As the difficulty of a header."""
MAX_ANNOUNCED_TRANSACTIONS = 1_024
"""Hashes in one announcement: five full blocks of transfers. geth allows 4,096."""
MAX_REQUESTED_TRANSACTIONS = 256
"""Transactions asked for at once, as in geth."""
SOFT_RESPONSE_BYTES = 2 * 1024 * 1024
"""An answer gets no further item when it has reached this size, as in geth; the last item may go beyond it."""
MAX_PUSHED_BLOCK_BYTES = 1024 * 1024
"""Thousands of transfers. A larger block is announced and fetched, because what peers send unasked has to fit into a
Pi's memory for all of them at once."""
MAX_ANNOUNCED_BLOCKS = 64
"""More blocks than this are found by synchronising, not by announcements."""
MAX_REQUESTED_HEADERS = 192
"""As in geth: some 100 kB."""
MAX_HEADER_SKIP = 2**20
"""Blocks left out between two headers asked for: a skeleton of any chain that these nodes keep."""
MAX_HEADER_BYTES = 1_024
"""Sixteen fields take at most some 700 bytes."""
MAX_CERTIFICATE_BYTES = 16 * 1024
"""The seals of a block: 200 validators with 65 bytes each and the framing around them."""
MAX_REQUESTED_BODIES = 128
"""As in geth; the size of the answer limits it further."""
MAX_RECEIPTS_BYTES = MAX_BLOCK_BYTES
"""Of one block. A byte in a log costs 8 gas: 30 million buy 3.75 MB, and the logs' own framing less than as much."""
MAX_REQUESTED_RECEIPTS = 16
"""Blocks whose receipts are asked for at once; it is done one by one, where a validator set may have changed."""
MAX_STATE_PIECE_BYTES = MAX_PIECE_BYTES
"""A part of a state's trie that is sent whole; what is larger is cut at the node on top."""
MAX_STATE_PATH_NIBBLES = 64
"""A key of a trie is a hash, and no way in it is longer."""
MAX_REQUESTED_STATE_PIECES = 64
"""As with bodies, the size of the answer limits it further: storage of meters is in many small pieces."""
SOFT_STATE_RESPONSE_BYTES = 512 * 1024
"""As SOFT_RESPONSE_BYTES for pieces of a state and codes, as in geth's snap protocol: they are read from all over the
disk, and a past state is put together of several."""
MAX_SENT_CODE_BYTES = 64 * 1024
"""EIP-170 allows 24,576 bytes; a genesis file may hold more, and this is what others can fetch of it."""
MAX_REQUESTED_CODES = 64
"""A ledger of meters and markets has a few dozen codes in all."""
MAX_CONSENSUS_MESSAGE_BYTES = qbft.MAX_MESSAGE_BYTES
"""A proposal with its block and its justification: from validators only."""
MAX_RELAYED_CONSENSUS_BYTES = MAX_PUSHED_BLOCK_BYTES + 64 * 1024
"""From all other peers, who pass it on: as much as anybody may push as a block, and what justifies it. Every connection
may hold so much in memory unasked."""
MAX_EXCHANGED_PEERS = 64
"""Addresses in one answer: enough to find one's way. Bitcoin Core sends up to 1,000, of a far larger network."""
ENVELOPE_BYTES = 1_024
"""Room for what stands around the payload of a message: type bytes, lengths, numbers."""

MAX_TRANSACTIONS_MESSAGE_BYTES = SOFT_RESPONSE_BYTES + MAX_TRANSACTION_BYTES + 5 * MAX_REQUESTED_TRANSACTIONS
MAX_NEW_BLOCK_BYTES = MAX_PUSHED_BLOCK_BYTES + MAX_CERTIFICATE_BYTES
MAX_HEADERS_MESSAGE_BYTES = MAX_REQUESTED_HEADERS * (MAX_HEADER_BYTES + MAX_CERTIFICATE_BYTES + 16)
MAX_BODIES_MESSAGE_BYTES = SOFT_RESPONSE_BYTES + MAX_BLOCK_BYTES + 5 * MAX_REQUESTED_BODIES
MAX_RECEIPTS_MESSAGE_BYTES = SOFT_RESPONSE_BYTES + MAX_RECEIPTS_BYTES + 5 * MAX_REQUESTED_RECEIPTS
MAX_STATE_PIECES_MESSAGE_BYTES = SOFT_STATE_RESPONSE_BYTES + MAX_STATE_PIECE_BYTES + 5 * MAX_REQUESTED_STATE_PIECES
MAX_CODES_MESSAGE_BYTES = SOFT_STATE_RESPONSE_BYTES + MAX_SENT_CODE_BYTES + 5 * MAX_REQUESTED_CODES

# ---- connections ---------------------------------------------------------------------------------------------------

MAX_INBOUND_STRANGERS = 32
"""Connections that others opened. A community has a few dozen nodes, a Pi the memory and Wi-Fi for about that many;
Bitcoin Core takes 115."""
MAX_OUTBOUND_STRANGERS = 10
"""Connections that we opened: our own choice, which nobody from outside can fill, as in Bitcoin Core."""
MAX_RESERVED_PEERS = 64
"""Validators and static peers that are connected, beside the strangers; what is beyond counts as a stranger."""
MAX_PENDING_HANDSHAKES = 16
"""Sockets whose owner has not said who it is, ten seconds each; geth takes 50."""
MAX_PENDING_FROM_ADDRESS = 4
"""Of these, from one address: the others can still come in. Loopback is exempt, many nodes may share a machine."""
MAX_INBOUND_FROM_ADDRESS = 4
"""Nodes of strangers behind one address: one household's. Loopback is exempt."""
MAX_INBOUND_FROM_SUBNET = 8
"""Of a /24 or /48 of the public Internet: whoever rents one subnet gets a quarter of the slots. Private networks are
exempt: all Pis of a building are in one subnet."""
MAX_OUTBOUND_TO_SUBNET = 2
"""Public subnets we dial: a peer list filled by one subnet must not choose all our peers. Bitcoin Core allows one."""
SUBNET_PREFIX_IPV4 = 24
SUBNET_PREFIX_IPV6 = 48
"""What a provider commonly gives to one customer."""

MIN_REPLACED_AGE_S = 10
"""A second connection of a node replaces one of at least this age: the node lost power and is back, and the first one
is dead. Younger ones are two nodes that called each other at once, and both have to keep the same one."""

# ---- reputation ----------------------------------------------------------------------------------------------------

BAN_POINTS = 100
"""As Bitcoin Core had it: a hundred points, and the peer is banned."""
POINT_DECAY_S = 30
"""One point is forgiven in this time: a hundred in 50 minutes, so that rare mistakes never add up."""
BAN_TIME_S = 3_600
"""Makes attacks slow, yet a neighbour whose node was repaired is soon back. Bitcoin Core bans for a day."""
BANNED_PREFIX_IPV6 = 64
"""Whoever has one IPv6 address has all of its /64 (RFC 4291)."""
MAX_REMEMBERED_OFFENDERS = 4_096
"""Nodes and addresses with points or bans: under 1 MB. Those nearest to being forgiven are forgotten first."""

# ---- the address book ----------------------------------------------------------------------------------------------

MAX_KNOWN_PEERS = 1_024
"""Far more than such networks have; a file of some 150 kB."""
MAX_KNOWN_PEERS_IN_SUBNET = 32
"""Of one public subnet, so that one lying peer's list cannot push everybody else out."""
MAX_ADDRESS_BOOK_BYTES = 1024 * 1024
"""What the file may hold when it is read again: all known peers several times over."""
MAX_STATIC_PEERS_BYTES = 256 * 1024
"""A static-nodes.json: a thousand URLs."""
MAX_STATIC_PEERS = 256
"""Peers named by the operator; they are dialed without end, so that more would be a mistake in the file."""
DIAL_BACKOFF_S = 5
"""After the first failure, doubled with each further one."""
MAX_STATIC_BACKOFF_S = 60
"""A static peer or validator is back within a minute of its return: blocks may wait for it."""
MAX_DIAL_BACKOFF_S = 3_600
"""For all others: a node that left for good costs one attempt an hour."""
MAX_DIAL_FAILURES = 32
"""In a row, about a day of trying: then a peer that is not static is forgotten."""
MIN_FAILURES_TO_DOUBT = 3
"""Calls in vain before we believe others that a node we had reached is now somewhere else."""
MAX_HOST_CHARACTERS = 253
"""A name in the Domain Name System (RFC 1035)."""

# ---- sessions ------------------------------------------------------------------------------------------------------

STATUS_TIME_S = 10.0
"""For both Status messages once the handshake is done: a second of work and a slow network; as long as a handshake."""
REQUEST_TIME_S = 15.0
"""For an answer that is small: a Pi that is importing a full block answers after a few seconds. geth: 15 s."""
LARGE_REQUEST_TIME_S = 75.0
"""For an answer of megabytes: the time that one message may take to arrive, and the time to begin it."""
MAX_REQUESTS_IN_FLIGHT = 8
"""Of ours to one peer: synchronisation, transactions, a block and peers at once. Answers are as large as memory allows
only for so many."""
MAX_OWED_ANSWERS = 16
"""Requests that one peer has not answered, those given up included: a peer that owes more is of no use."""
MAX_WAITING_REQUESTS = 16
"""Of a peer's to us, answered one after another: twice what we ask for at once ourselves."""
MAX_QUEUED_MESSAGES = 64
"""Announcements and blocks that wait for one peer; when there are more, the peer misses them and will hear of the
blocks again. Blocks are one copy for all peers."""
MAX_SESSION_TASKS = 32
"""Fetches and imports in progress for one peer; more come only from one that floods us."""
MESSAGE_BURST = 1_000
"""Messages that a peer may send at once: what gathers while a Pi is busy for half a minute."""
MESSAGES_PER_S = 50
"""And how fast that is filled up again: announcements are batched ten times a second, blocks come once a second."""
MIN_USEFUL_SESSION_S = 30.0
"""A peer that hangs up sooner is called again after a wait, as one that did not answer."""

# ---- gossip --------------------------------------------------------------------------------------------------------

ANNOUNCE_INTERVAL_S = 0.1
"""Transactions of this time are announced together: one message instead of hundreds, and nobody notices the delay."""
ANNOUNCE_AGAIN_INTERVAL_S = 60.0
"""What is still pending after so long is told everybody once more: a peer may have been unable to take it, or to fetch
it, when it first heard of it. A full pool costs a peer 2 kB/s by that."""
MAX_KNOWN_TRANSACTIONS = 8_192
"""Hashes a peer is remembered to have seen: two full pools, since what is in no pool is announced to nobody. Every busy
peer comes to use them up: 1.2 MB each, 50 MB with as many peers as there can be. geth remembers 32,768."""
MAX_KNOWN_BLOCKS = 1_024
"""The same for blocks, as in geth."""
MAX_UNANNOUNCED_TRANSACTIONS = 4_096
"""Hashes that wait to be announced to one peer: a full pool."""
MAX_WANTED_TRANSACTIONS = 4_096
"""Hashes that one peer announced and nobody has delivered yet: a full pool, as in geth. More are ignored."""
MAX_WANTED_BLOCKS = 64
"""Blocks one peer announced and nobody has delivered; beyond it is synchronisation's business."""
MAX_REMEMBERED_REFUSALS = 8_192
"""Transactions refused of late, which are not fetched again from every peer that announces them."""
REFUSAL_MEMORY_S = 120
"""A refused transaction may become acceptable later (its sender was paid, the pool emptied)."""
ADMISSION_BATCH = 16
"""Transactions checked without a pause: a signature takes a Pi half a millisecond, and the event loop must go on."""
PUSHED_BLOCKS_BURST = 16
"""Blocks that a peer may push at once; each costs us its decoding and the root of its transactions."""
PUSHED_BLOCKS_PER_S = 2
"""And how fast that is filled up again: twice as many as the fastest chains of this ledger make."""
DELAYED_BLOCKS_BURST = PUSHED_BLOCKS_BURST + int(PUSHED_BLOCKS_PER_S * IDLE_TIME_S)
"""What an honest peer may have pushed while its connection stood still, which then comes at once. Blocks above
PUSHED_BLOCKS_BURST are dropped unread; only those above this number are held against it."""
MAX_IMPORTS_WAITING = 4
"""Blocks of one peer that wait for the chain thread; the other blocks are announced by others, or again."""
MAX_ORPHANS_OF_PEER = 4
"""Blocks of one peer kept until their parent is here."""
MAX_ORPHAN_BYTES = 16 * 1024 * 1024
"""Of all of them together; the oldest go first."""
MAX_ANNOUNCED_AHEAD = 64
"""Blocks announced higher above our head than this are not fetched one by one: synchronisation is asked to catch up."""

# ---- consensus -----------------------------------------------------------------------------------------------------

CONSENSUS_MEMORY_S = 1.0
"""A message that is repeated sooner is not passed on again; its sender repeats it every few seconds, for those who
missed it."""
CONSENSUS_MESSAGES_PER_VALIDATOR_S = 3
"""On top of MESSAGES_PER_S: a peer may pass on everybody's prepare, commit and a repetition for a block a second."""
MAX_REMEMBERED_CONSENSUS_MESSAGES = 4_096
"""Digests of messages that were passed on: of 128 validators, a round's three messages ten times over; some 400 kB."""

# ---- synchronisation -----------------------------------------------------------------------------------------------

SYNC_LOOK_INTERVAL_S = 5.0
"""Between two looks at what everybody claims, where nobody was named: a claim that stands so long is not of a block
that is being imported."""
MIN_SYNC_INTERVAL_S = 1.0
"""Between two rounds with one peer that had nothing new: it may be named with every block that it sends."""
SYNC_REST_S = 5.0
"""For a peer that led nowhere, doubled with each time in a row: others have their turn, and a liar costs little."""
MAX_SYNC_REST_S = 60.0
"""An honest peer that was cut off, or that alone is left, is tried again within a minute."""
SLOW_HEADERS_S = 5.0
"""A peer that takes longer for 192 headers is asked after the others. A Pi that is importing needs about two."""
SURVEY_MARK_BLOCKS = 192
"""Of a long branch every so many-th hash is kept while its weight is found out: some 500 kB for a million blocks."""
SURVEY_GROWTH_PART = 64
"""A chain may grow by this part of its weight while its headers are gone through; one of somebody else that is heavier
by more is another one."""
MAX_IGNORED_FAILURES = 3
"""A peer that failed so often in a row, and never showed what it claims, keeps nobody from taking a lighter chain."""
MAX_HEADERS_AHEAD = 2_048
"""Checked headers whose blocks are not imported: up to a minute of work for the chain thread, under 16 MB with the
certificates of 128 validators."""
MAX_IMPORTS_AHEAD = 3
"""Blocks that the chain thread is given at a time, so that it need not wait for the event loop between them."""
MAX_BODY_QUESTIONS = 6
"""For bodies, to all peers together: an answer of the largest blocks has 10 MiB."""
MAX_BODY_QUESTIONS_TO_PEER = 2
"""So that the next one waits at the peer while an answer is on its way."""
SHARE_BYTES = 1024 * 1024
"""What a peer is asked for at once, judged by the bodies of late: a second or a few of Wi-Fi."""
MAX_SHARE_BODIES = 64
"""However small they are: a share that does not come holds up no more blocks than this."""
USUAL_BODY_BYTES = 8 * 1024
"""How large a body is thought to be before the first one came: fifty readings of meters."""
USUAL_BODY_MEMORY = 32
"""Bodies over which the usual size is learnt."""
MAX_WAITING_BODY_BYTES = 16 * 1024 * 1024
"""Bodies that wait for their turn in the import; decoded they take several times as much."""
LATE_SHARE_S = 10.0
"""After this a share is asked of somebody else as well: ten times what a home network needs for it."""
SHARE_LOOK_INTERVAL_S = 1.0
"""Between two looks for shares that are late."""
EMPTY_HANDED_S = 10.0
"""A peer that had none of the bodies it was asked for is given no share for so long: it is behind, or began later."""
MIN_BLOCKS_TO_SKIP = 1_024
"""A new node takes over a state if it saves executing so many blocks: less than a minute of work."""
FAR_BEHIND_BLOCKS = 200_000
"""A node that executed blocks before takes over a state only if it is so far behind: a month of blocks every 13 s, and
hours of work for a Pi. It will never have the bodies of what it skips."""
PIVOT_DISTANCE_BLOCKS = 16
"""How far below the newest header a state is taken over, at least: not all peers stand at the same block, and they keep
the states of the last 1,024."""
MAX_STATE_QUESTIONS = 6
"""For pieces of a state and codes, to all peers together: some 3 MB in memory."""
MAX_STATE_QUESTIONS_TO_PEER = 2
"""As with bodies."""
LATE_PIECES_S = 5.0
"""As LATE_SHARE_S for pieces and codes, of which there are less than half as many bytes at once."""
MAX_OPEN_STATE_ITEMS = 1_024
"""Places and codes that are known to be missing and not asked for yet: two or three full rounds of questions."""
STATE_SHARE_INTERVAL_S = 5.0
"""Between two estimates of how much of a state is here: a count of all its rows, a tenth of a second for a million."""
STATE_PATIENCE_S = 15.0
"""How long nobody has to have a state before the node looks for a newer one: peers come and go."""
MAX_VAIN_PIVOTS = 4
"""States in a row of which nobody had a single piece: a minute. On a chain that grows there is always a newer one."""
MIN_SYNCING_BLOCKS = 8
"""Further behind than this a node counts as syncing, and does not pass on what is history to the others."""
SYNC_LOG_INTERVAL_S = 8.0
"""Between two lines of progress in the log, where no terminal shows it; as often as geth."""

# ---- peers ---------------------------------------------------------------------------------------------------------

DIAL_INTERVAL_S = 1.0
"""Between two looks at who should be called."""
MAX_DIALS_AT_ONCE = 8
"""Calls in progress: half of what a listener allows in handshakes."""
ASK_FOR_PEERS_INTERVAL_S = 600.0
"""Every peer is asked for others when it connects and then this often, unless enough are connected."""
MIN_TELL_PEERS_INTERVAL_S = 60
"""How often one peer is told others; asking more often gets an empty answer, so that the book cannot be drained."""
SAVE_INTERVAL_S = 300.0
"""Between two writes of the address book: an SD card wears out, and the book is a cache."""

# ---- the local network ---------------------------------------------------------------------------------------------

LOCAL_GENESIS_DIGITS = 16
"""Of the genesis hash in an announcement: tells two chains with one id apart; the handshake checks all of it."""
MAX_ANNOUNCEMENT_TEXT_BYTES = 512
"""What stands beside name and address; ours has some 110."""
MAX_ANNOUNCED_ADDRESSES = 16
"""Of one node: a Pi has two networks, and some of containers."""
MIN_LOCAL_PREFIX = 8
"""A network that claims to be larger is a tunnel to everywhere, and says nothing about who is near."""
MAX_LOCAL_NODES = 256
"""Announced at a time: the Pis of a large building. Others wait until one has gone."""
LOCAL_NAMES_BURST = 128
"""Names heard at once: all Pis of a street after a power cut."""
LOCAL_NAMES_PER_S = 1
"""And how fast that is filled up again. Whoever makes up names for fun costs us one look-up a second."""
MAX_WAITING_LOCAL_NAMES = 128
"""Names to be looked up; those beyond are heard of again when the node looks around anew."""
LOCAL_LOOKUPS_AT_ONCE = 4
LOCAL_LOOKUP_TIME_S = 3.0
"""For the address behind a name: two repetitions of the question on a lossy Wi-Fi."""
LOCAL_REMINDER_S = 60.0
"""How often the address book is told of the nodes nearby: when a router has given everybody a new address, an old one
is believed until three calls were in vain."""
LOCAL_LOOK_AROUND_S = 600.0
"""How often the node asks the network anew who is there: what was missed is found then."""
OWN_ADDRESSES_CHECK_S = 15.0
"""How often it looks whether its own addresses changed: Wi-Fi often comes up after the node."""
LOCAL_RETRY_S = 60.0
"""After multicast failed, for whatever reason."""
