// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";

import {IMeter} from "./IMeter.sol";
import {IMeterKeeper} from "./IMeterKeeper.sol";
import {IReadingSink} from "./IReadingSink.sol";
import {IRegistry} from "./IRegistry.sol";
import {MeterTariffs} from "./MeterTariffs.sol";
import {LinkWord, StateWord, packState} from "./MeterWords.sol";

/// @title Meter: readings signed by the meters themselves (Wattcoin paper, figure 2)
/// @notice Invariant: for each meter sequence strictly rises and time, import and export register never fall; every
///         Wh by which a register rises between two accepted readings (or from the last one to the closing registers)
///         is told to the meter's sink exactly once, in the transaction that accepts the later one; and `totals` is the
///         sum over all meters.
/// @dev Anyone may carry a reading here: the signature decides. Registers are cumulative, so a reading that never
///      arrives, or arrives after a later one and is refused as stale, loses no energy: the next one covers it.
///      A batch therefore leaves out what it cannot accept instead of reverting: a stranger who submits some of its
///      readings first, or one bad reading in an outbox, does not hold up the others.
///      The domain separator is computed at every call, since a contract placed by a genesis file runs no constructor.
///      The Registry says which meters there are; what a reading needs of that is kept here, so that it asks nobody.
contract Meter is MeterTariffs, IMeterKeeper {
    struct Totals {
        uint80 importedWh;
        uint80 exportedWh;
        int64 powerW;
        uint32 meters;
    }

    /// @dev What the readings of a transaction add to the totals.
    struct Added {
        uint256 importedWh;
        uint256 exportedWh;
        int256 powerW;
    }

    /// @notice Readings in one batch: 12 million gas where each is the first of its meter or closes a day, 15 million where
    ///         all their tariffs have sixteen slabs and sixteen windows: half a block. Where a meter's tariff was changed
    ///         MAX_TARIFF_CHANGES times since its last reading, one of its next costs up to 55,000 more.
    uint256 public constant MAX_BATCH = 100;
    /// @notice Seconds by which a meter's clock may run ahead of the block's time.
    uint64 public constant MAX_AHEAD_S = 60;
    /// @notice Seconds by which a meter's clock may be behind the block that installed it, or brought it back.
    uint64 public constant MAX_BEFORE_S = 60;
    /// @notice Greatest register, in Wh: 9 PWh, also the greatest integer that every JSON reader keeps exactly. With rates
    ///         of 64 bits it bounds all money ever charged to a meter below 2^117 wei.
    uint64 public constant MAX_REGISTER_WH = 2 ** 53 - 1;
    /// @notice Greatest sequence number: one reading a second for nine million years.
    uint64 public constant MAX_SEQUENCE = 2 ** 48 - 1;

    /// @notice Contracts that meters may have as sinks, over all times: regulators approve a handful of them.
    uint256 public constant MAX_SINKS = type(uint8).max;

    bytes32 public constant READING_TYPEHASH = keccak256(
        "Reading(address meter,uint64 sequence,uint64 time,uint64 importWh,uint64 exportWh,int32 powerW,uint16 flags,bytes32 previousHash)"
    );
    bytes32 private constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant NAME_HASH = keccak256("Wattchain Meter");
    bytes32 private constant VERSION_HASH = keccak256("1");
    /// @dev Where fields of a reading lie in the calldata, in bytes from its beginning.
    uint256 private constant SEQUENCE = 0x20;
    uint256 private constant TIME = 0x40;
    uint256 private constant IMPORT_WH = 0x60;
    uint256 private constant EXPORT_WH = 0x80;
    /// @dev Signatures with s above half of the curve's order are the second form of others (EIP-2).
    uint256 private constant MAX_S = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0;

    /// @notice The Registry: who is its owner, regulator or supplier has no say here but through it.
    address public registry;
    mapping(uint8 number => address) public sinkOf;
    /// @notice Number of sinks that meters have ever had, MAX_SINKS at most; they are numbered from 1.
    uint8 public sinkCount;
    mapping(address sink => uint8 number) private _sinkNumbers;
    Totals private _totals;

    error ZeroAddress();
    error TooManySinks(address sink, uint256 maximum);

    constructor(address registry_) {
        if (registry_ == address(0)) revert ZeroAddress();
        registry = registry_;
    }

    modifier onlyRegistry() {
        if (msg.sender != registry) revert NotRegistry(msg.sender);
        _;
    }

    /// @inheritdoc IMeter
    function submit(SignedReading calldata signed) external {
        Added memory added;
        (Outcome outcome, StateWord last) = _take(signed, domainSeparator(), added);
        if (outcome != Outcome.Accepted) _revertWith(outcome, signed, last);
        _add(added);
    }

    /// @inheritdoc IMeter
    function submitBatch(SignedReading[] calldata signed) external returns (Outcome[] memory outcomes) {
        uint256 size = signed.length;
        if (size == 0 || size > MAX_BATCH) revert BatchSizeInvalid(size, MAX_BATCH);
        outcomes = new Outcome[](size);
        bytes32 separator = domainSeparator();
        Added memory added;
        for (uint256 index = 0; index < size; ++index) {
            (Outcome outcome,) = _take(signed[index], separator, added);
            if (outcome == Outcome.Accepted) continue;
            outcomes[index] = outcome;
            emit ReadingRefused(signed[index].reading.meter, signed[index].reading.sequence, outcome);
        }
        _add(added);
    }

    /// @inheritdoc IMeterKeeper
    function open(
        address meter,
        address supplier,
        address sink,
        uint32 tariff,
        uint64 openingImportWh,
        uint64 openingExportWh
    ) external onlyRegistry {
        uint8 number = _sinkNumbers[sink];
        if (number == 0) {
            if (sinkCount == MAX_SINKS) revert TooManySinks(sink, MAX_SINKS);
            number = ++sinkCount;
            _sinkNumbers[sink] = number;
            sinkOf[number] = sink;
        }
        _open(meter, supplier, number, tariff, openingImportWh, openingExportWh);
    }

    /// @inheritdoc IMeterKeeper
    function close(address meter) external onlyRegistry {
        Book storage book = _books[meter];
        if (book.sequence != 0) {
            address supplier = book.supplier;
            uint64 time = book.time;
            _closeDay(book, meter, supplier, _dayAt(time, zoneOf(supplier, time)), book.importWh, book.exportWh);
        }
        _close(book);
    }

    /// @inheritdoc IMeterKeeper
    /// @dev Not before the last reading in time, which may be ahead of the block's.
    function swap(
        address meter,
        address successor,
        uint64 closingImportWh,
        uint64 closingExportWh,
        uint64 openingImportWh,
        uint64 openingExportWh
    ) external onlyRegistry {
        Book storage book = _books[meter];
        _checkRegisters(book, meter, closingImportWh, closingExportWh);
        uint64 time = uint64(block.timestamp) > book.time ? uint64(block.timestamp) : book.time;
        Added memory added;
        IReadingSink.Delta memory delta =
            _count(book, _linkOf(book), _stateOf(book), meter, time, closingImportWh, closingExportWh, added);
        book.importWh = uint56(closingImportWh);
        book.exportWh = uint56(closingExportWh);
        book.time = uint48(time);
        _add(added);
        _closeDay(book, meter, delta.supplier, _dayAt(time, delta.zoneS), closingImportWh, closingExportWh);
        _close(book);
        _open(successor, delta.supplier, book.sinkNumber, delta.tariff, openingImportWh, openingExportWh);
        emit RegistersClosed(meter, delta.supplier, time, closingImportWh, closingExportWh);
        _tell(sinkOf[book.sinkNumber], delta);
    }

    /// @inheritdoc IMeterKeeper
    function assignTariff(address meter, uint32 tariff) external onlyRegistry {
        _assign(meter, tariff);
    }

    /// @inheritdoc IMeter
    function check(SignedReading calldata signed) external view returns (Outcome outcome) {
        (outcome,,,) = _check(_books[signed.reading.meter], signed, signed.reading.meter, domainSeparator());
    }

    /// @inheritdoc IMeter
    function lastReading(address meter) external view returns (LastReading memory last) {
        Book storage book = _books[meter];
        return LastReading({
            sequence: book.sequence,
            time: book.time,
            importWh: book.importWh,
            exportWh: book.exportWh,
            powerW: book.powerW,
            flags: book.flags,
            hash: book.hash
        });
    }

    /// @inheritdoc IMeter
    function totals() external view returns (uint256 importedWh, uint256 exportedWh, int256 powerW, uint256 meters) {
        Totals memory sum = _totals;
        return (sum.importedWh, sum.exportedWh, sum.powerW, sum.meters);
    }

    /// @notice What this contract keeps of a meter's registration, the Registry having all of it.
    function linkOf(address meter)
        external
        view
        returns (IRegistry.Status status, address supplier, address sink, uint32 tariff, uint64 openedAt)
    {
        Book storage book = _books[meter];
        return (book.status, book.supplier, sinkOf[book.sinkNumber], book.tariff, book.openedAt);
    }

    /// @notice hashStruct (EIP-712) of a reading: what the next reading names as its `previousHash`.
    function hashReading(Reading calldata reading) external pure returns (bytes32) {
        return _hash(reading);
    }

    /// @notice The EIP-712 domain separator on this chain: name "Wattchain Meter", version "1", chain id, this address.
    function domainSeparator() public view returns (bytes32) {
        return keccak256(abi.encode(DOMAIN_TYPEHASH, NAME_HASH, VERSION_HASH, block.chainid, address(this)));
    }

    /// @inheritdoc IMeter
    function currentDayOf(address meter)
        public
        view
        override
        returns (uint32 day, uint256 importedWh, uint256 exportedWh)
    {
        Book storage book = _books[meter];
        day = uint32(_dayAt(book.time, zoneOf(book.supplier, book.time)));
        Usage memory closed = _closedDay(meter, day);
        importedWh = closed.importedWh + book.importWh - book.startImportWh;
        exportedWh = closed.exportedWh + book.exportWh - book.startExportWh;
    }

    /// @dev Accepts a reading or says which rule it breaks; and what the meter's state was before.
    function _take(SignedReading calldata signed, bytes32 separator, Added memory added)
        private
        returns (Outcome outcome, StateWord last)
    {
        address meter = signed.reading.meter;
        Book storage book = _books[meter];
        bytes32 hash;
        LinkWord link;
        (outcome, hash, link, last) = _check(book, signed, meter, separator);
        if (outcome == Outcome.Accepted) _accept(book, signed.reading, meter, hash, link, last, added);
    }

    /// @dev Cheap rules first; a stale reading is told apart before its signature is recovered, since sending one again
    ///      is what an outbox does after a failure.
    function _check(Book storage book, SignedReading calldata signed, address meter, bytes32 separator)
        private
        view
        returns (Outcome outcome, bytes32 hash, LinkWord link, StateWord last)
    {
        Reading calldata reading = signed.reading;
        link = _linkOf(book);
        uint256 status = link.status();
        if (status != uint256(IRegistry.Status.Active)) {
            outcome = status == uint256(IRegistry.Status.Removed) ? Outcome.InactiveMeter : Outcome.UnknownMeter;
            return (outcome, 0, link, last);
        }
        last = _stateOf(book);
        if (_word(reading, SEQUENCE) <= last.sequence()) return (Outcome.Stale, 0, link, last);
        hash = _hash(reading);
        outcome = _signer(signed, hash, separator) == meter ? _judge(reading, link, last) : Outcome.InvalidSignature;
    }

    /// @dev The rules for what an honest signer may have wrong. They look at whole words, so they bound also what is wider
    ///      than its type.
    function _judge(Reading calldata reading, LinkWord link, StateWord last) private view returns (Outcome) {
        uint256 importWh = _word(reading, IMPORT_WH);
        uint256 exportWh = _word(reading, EXPORT_WH);
        uint256 time = _word(reading, TIME);
        if (_word(reading, SEQUENCE) > MAX_SEQUENCE || importWh > MAX_REGISTER_WH || exportWh > MAX_REGISTER_WH) {
            return Outcome.OutOfRange;
        }
        unchecked {
            // The time of a block is nowhere near 2^256.
            if (time > block.timestamp + MAX_AHEAD_S) return Outcome.TimeInFuture;
            if (time + MAX_BEFORE_S < link.openedAt()) return Outcome.BeforeInstallation;
        }
        if (time < last.time()) return Outcome.TimeFell;
        if (importWh < last.importWh()) return Outcome.ImportFell;
        if (exportWh < last.exportWh()) return Outcome.ExportFell;
        return Outcome.Accepted;
    }

    /// @dev All of the meter's own is written before its sink is called, so a sink that calls back meets a finished
    ///      reading. What the totals gain is gathered in `added`, to be written once: a sum does not mind the order.
    ///      No conversion loses bits: `_judge` has bounded sequence, registers and time.
    function _accept(
        Book storage book,
        Reading calldata reading,
        address meter,
        bytes32 hash,
        LinkWord link,
        StateWord last,
        Added memory added
    ) private {
        bytes32 lastHash = book.hash;
        if (reading.previousHash != lastHash) {
            emit ReadingGapFound(meter, last.sequence(), reading.sequence, lastHash, reading.previousHash);
        }
        uint64 time = uint64(_word(reading, TIME));
        uint64 importWh = uint64(_word(reading, IMPORT_WH));
        uint64 exportWh = uint64(_word(reading, EXPORT_WH));
        IReadingSink.Delta memory delta = _count(book, link, last, meter, time, importWh, exportWh, added);
        int32 powerW = reading.powerW;
        unchecked {
            // A difference of two int32.
            added.powerW += int256(powerW) - last.powerW();
        }
        StateWord state = packState(importWh, exportWh, _word(reading, SEQUENCE), time, powerW, reading.flags);
        assembly ("memory-safe") {
            sstore(add(book.slot, 1), state)
        }
        book.hash = hash;
        _report(reading, meter, delta.supplier);
        _tell(sinkOf[link.sinkNumber()], delta);
    }

    /// @dev Counts the energy up to these registers in its hour and its day, and closes the day before where one is over.
    ///      The meter's state is still that of the last reading, and does not change here.
    function _count(
        Book storage book,
        LinkWord link,
        StateWord last,
        address meter,
        uint64 time,
        uint64 importWh,
        uint64 exportWh,
        Added memory added
    ) private returns (IReadingSink.Delta memory delta) {
        address supplier = link.supplier();
        uint64 lastTime = last.time();
        (int32 zoneS, int32 lastZoneS) = _zonesAt(supplier, time, lastTime);
        if (last.sequence() != 0) {
            uint256 lastDay = _dayAt(lastTime, lastZoneS);
            if (lastDay != _dayAt(time, zoneS)) {
                _closeDay(book, meter, supplier, lastDay, last.importWh(), last.exportWh());
            }
        }
        uint64 importedWh;
        uint64 exportedWh;
        unchecked {
            // It has been checked that neither register falls; and a sum of a hundred of them is far below 2^256.
            importedWh = importWh - last.importWh();
            exportedWh = exportWh - last.exportWh();
            added.importedWh += importedWh;
            added.exportedWh += exportedWh;
        }
        _addToHours(book, time, zoneS, importedWh, exportedWh);
        return IReadingSink.Delta(
            meter,
            supplier,
            link.hasEarlierTariffs() ? _pickTariff(book, meter, time) : link.tariff(),
            importedWh,
            exportedWh,
            _previousTime(link.openedAt(), lastTime, time),
            time,
            zoneS
        );
    }

    /// @dev sink.onReading(delta): the members lie in memory as they are encoded. Sinks have code, the Registry sees to it.
    function _tell(address sink, IReadingSink.Delta memory delta) private {
        bytes4 selector = IReadingSink.onReading.selector;
        assembly ("memory-safe") {
            let data := mload(0x40)
            mstore(data, selector)
            mcopy(add(data, 4), delta, 0x100)
            if iszero(call(gas(), sink, 0, data, 0x104, 0, 0)) {
                returndatacopy(data, 0, returndatasize())
                revert(data, returndatasize())
            }
        }
    }

    /// @dev The last reading or, where it is later, the installation; of a meter of the genesis neither may be known.
    function _previousTime(uint64 openedAt, uint64 lastTime, uint64 time) private pure returns (uint64) {
        uint64 since = lastTime > openedAt ? lastTime : openedAt;
        return since == 0 || since > time ? time : since;
    }

    function _add(Added memory added) private {
        Totals memory sum = _totals;
        sum.importedWh += uint80(added.importedWh);
        sum.exportedWh += uint80(added.exportedWh);
        sum.powerW += int64(added.powerW);
        _totals = sum;
    }

    function _open(
        address meter,
        address supplier,
        uint8 sinkNumber,
        uint32 tariff,
        uint64 openingImportWh,
        uint64 openingExportWh
    ) private {
        Book storage book = _books[meter];
        _checkRegisters(book, meter, openingImportWh, openingExportWh);
        book.supplier = supplier;
        book.status = IRegistry.Status.Active;
        book.sinkNumber = sinkNumber;
        if (book.hasEarlierTariffs) _forgetTariffs(book, meter);
        book.tariff = tariff;
        book.openedAt = uint40(block.timestamp);
        book.importWh = uint56(openingImportWh);
        book.exportWh = uint56(openingExportWh);
        // What was counted before is in closed days, so the current one starts here.
        book.startImportWh = uint56(openingImportWh);
        book.startExportWh = uint56(openingExportWh);
        _zones[supplier].hasMeters = true;
        ++_totals.meters;
    }

    function _close(Book storage book) private {
        book.status = IRegistry.Status.Removed;
        _totals.powerW -= book.powerW;
        --_totals.meters;
        book.powerW = 0;
    }

    function _linkOf(Book storage book) private view returns (LinkWord word) {
        assembly ("memory-safe") {
            word := sload(book.slot)
        }
    }

    function _stateOf(Book storage book) private view returns (StateWord word) {
        assembly ("memory-safe") {
            word := sload(add(book.slot, 1))
        }
    }

    /// @dev A field of a reading as it lies in the calldata, not checked against its type.
    function _word(Reading calldata reading, uint256 position) private pure returns (uint256 word) {
        assembly ("memory-safe") {
            word := calldataload(add(reading, position))
        }
    }

    /// @dev emit ReadingAccepted: its data are the signed fields after `meter`, in their order. They are copied as they
    ///      lie in the calldata: `_judge` has bounded four of them, the compiler checks the others where they are read.
    function _report(Reading calldata reading, address meter, address supplier) private {
        bytes32 topic = ReadingAccepted.selector;
        assembly ("memory-safe") {
            let data := mload(0x40)
            calldatacopy(data, add(reading, 0x20), 0xe0)
            log3(data, 0xe0, topic, meter, supplier)
        }
    }

    function _checkRegisters(Book storage book, address meter, uint64 importWh, uint64 exportWh) private view {
        if (importWh > MAX_REGISTER_WH || exportWh > MAX_REGISTER_WH) {
            revert ReadingOutOfRange(meter, book.sequence, importWh, exportWh);
        }
        if (importWh < book.importWh) revert ImportFell(meter, importWh, book.importWh);
        if (exportWh < book.exportWh) revert ExportFell(meter, exportWh, book.exportWh);
    }

    /// @dev keccak256(abi.encode(READING_TYPEHASH, fields of the reading)): they lie in the calldata as they are encoded.
    ///      A field wider than its type gives the hash of no reading that a meter has signed.
    function _hash(Reading calldata reading) private pure returns (bytes32 hash) {
        bytes32 typeHash = READING_TYPEHASH;
        assembly ("memory-safe") {
            let data := mload(0x40)
            mstore(data, typeHash)
            calldatacopy(add(data, 0x20), reading, 0x100)
            hash := keccak256(data, 0x120)
        }
    }

    /// @dev The address that signed, or zero where the signature is malformed or its s is in the upper half (ERC-2098 and
    ///      EIP-2, as OpenZeppelin's ECDSA has them).
    function _signer(SignedReading calldata signed, bytes32 hash, bytes32 separator) private pure returns (address) {
        uint256 s = uint256(signed.vs) & (2 ** 255 - 1);
        if (s > MAX_S) return address(0);
        uint8 v = uint8(uint256(signed.vs) >> 255) + 27;
        return ecrecover(MessageHashUtils.toTypedDataHash(separator, hash), v, signed.r, bytes32(s));
    }

    function _maxAheadS() internal pure override returns (uint64) {
        return MAX_AHEAD_S;
    }

    function _revertWith(Outcome outcome, SignedReading calldata signed, StateWord last) private view {
        Reading calldata reading = signed.reading;
        address meter = reading.meter;
        if (outcome == Outcome.Stale) revert ReadingStale(meter, reading.sequence, last.sequence());
        if (outcome == Outcome.UnknownMeter) revert MeterUnknown(meter);
        if (outcome == Outcome.InactiveMeter) revert MeterInactive(meter);
        if (outcome == Outcome.InvalidSignature) {
            revert SignatureInvalid(meter, _signer(signed, _hash(reading), domainSeparator()));
        }
        if (outcome == Outcome.OutOfRange) {
            revert ReadingOutOfRange(meter, reading.sequence, reading.importWh, reading.exportWh);
        }
        if (outcome == Outcome.TimeInFuture) {
            revert TimeInFuture(meter, reading.time, uint64(block.timestamp) + MAX_AHEAD_S);
        }
        if (outcome == Outcome.BeforeInstallation) {
            revert TimeBeforeInstallation(meter, reading.time, _books[meter].openedAt - MAX_BEFORE_S);
        }
        if (outcome == Outcome.TimeFell) revert TimeFell(meter, reading.time, last.time());
        if (outcome == Outcome.ImportFell) revert ImportFell(meter, reading.importWh, last.importWh());
        revert ExportFell(meter, reading.exportWh, last.exportWh());
    }
}
