// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";

import {IMeter} from "./IMeter.sol";
import {IReadingSink} from "./IReadingSink.sol";
import {MeterRegistration} from "./MeterRegistration.sol";

/// @title Meter: readings signed by the meters themselves (Wattcoin paper, figure 2)
/// @notice Invariant: for each meter sequence strictly rises and time, import and export register never fall; every
///         Wh by which a register rises between two accepted readings is told to the meter's sink exactly once, in the
///         transaction that accepts the later one; and `totals` is the sum over all meters.
/// @dev Anyone may carry a reading here: the signature decides. Registers are cumulative, so a reading that never
///      arrives, or arrives after a later one and is refused as stale, loses no energy: the next one covers it.
///      A batch therefore leaves out what it cannot accept instead of reverting: a stranger who submits some of its
///      readings first, or one bad reading in an outbox, does not hold up the others.
///      The domain separator is computed at every call, since a contract placed by a genesis file runs no constructor.
contract Meter is MeterRegistration {
    /// @dev Fits one storage slot, so that a reading writes two (this and its hash) beside the totals.
    struct State {
        uint56 importWh;
        uint56 exportWh;
        uint48 sequence;
        uint48 time;
        int32 powerW;
        uint16 flags;
    }

    struct Totals {
        uint80 importedWh;
        uint80 exportedWh;
        int64 powerW;
        uint32 meters;
    }

    /// @notice Readings in one batch: at most 6 million gas (a first reading of a hundred meters).
    uint256 public constant MAX_BATCH = 100;
    /// @notice Seconds by which a meter's clock may run ahead of the block's time.
    uint64 public constant MAX_AHEAD_S = 60;
    /// @notice Greatest register, in Wh: 9 PWh, also the greatest integer that every JSON reader keeps exactly. With rates
    ///         of 64 bits it bounds all money ever charged to a meter below 2^117 wei.
    uint64 public constant MAX_REGISTER_WH = 2 ** 53 - 1;
    /// @notice Greatest sequence number: one reading a second for nine million years.
    uint64 public constant MAX_SEQUENCE = 2 ** 48 - 1;

    bytes32 public constant READING_TYPEHASH = keccak256(
        "Reading(address meter,uint64 sequence,uint64 time,uint64 importWh,uint64 exportWh,int32 powerW,uint16 flags,bytes32 previousHash)"
    );
    bytes32 private constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant NAME_HASH = keccak256("Wattchain Meter");
    bytes32 private constant VERSION_HASH = keccak256("1");

    mapping(address meter => State) private _states;
    mapping(address meter => bytes32 hash) private _hashes;
    Totals private _totals;

    constructor(address firstOperator) MeterRegistration(firstOperator) {}

    /// @inheritdoc IMeter
    function submit(SignedReading calldata signed) external {
        (Outcome outcome, bytes32 hash, State memory last) = _check(signed, domainSeparator());
        if (outcome != Outcome.Accepted) _revertWith(outcome, signed, last);
        Totals memory added;
        _accept(signed.reading, hash, last, added);
        _add(added);
    }

    /// @inheritdoc IMeter
    function submitBatch(SignedReading[] calldata signed) external returns (Outcome[] memory outcomes) {
        uint256 size = signed.length;
        if (size == 0 || size > MAX_BATCH) revert BatchSizeInvalid(size, MAX_BATCH);
        outcomes = new Outcome[](size);
        bytes32 separator = domainSeparator();
        Totals memory added;
        for (uint256 index = 0; index < size; ++index) {
            (Outcome outcome, bytes32 hash, State memory last) = _check(signed[index], separator);
            if (outcome == Outcome.Accepted) {
                _accept(signed[index].reading, hash, last, added);
            } else {
                outcomes[index] = outcome;
                emit ReadingRefused(signed[index].reading.meter, signed[index].reading.sequence, outcome);
            }
        }
        _add(added);
    }

    /// @inheritdoc IMeter
    function check(SignedReading calldata signed) external view returns (Outcome outcome) {
        (outcome,,) = _check(signed, domainSeparator());
    }

    /// @inheritdoc IMeter
    function lastReading(address meter) external view returns (LastReading memory last) {
        State memory state = _states[meter];
        return LastReading({
            sequence: state.sequence,
            time: state.time,
            importWh: state.importWh,
            exportWh: state.exportWh,
            powerW: state.powerW,
            flags: state.flags,
            hash: _hashes[meter]
        });
    }

    /// @inheritdoc IMeter
    function totals() external view returns (uint256 importedWh, uint256 exportedWh, int256 powerW, uint256 meters) {
        Totals memory sum = _totals;
        return (sum.importedWh, sum.exportedWh, sum.powerW, sum.meters);
    }

    /// @notice hashStruct (EIP-712) of a reading: what the next reading names as its `previousHash`.
    function hashReading(Reading calldata reading) external pure returns (bytes32) {
        return _hash(reading);
    }

    /// @notice The EIP-712 domain separator on this chain: name "Wattchain Meter", version "1", chain id, this address.
    function domainSeparator() public view returns (bytes32) {
        return keccak256(abi.encode(DOMAIN_TYPEHASH, NAME_HASH, VERSION_HASH, block.chainid, address(this)));
    }

    /// @dev Cheap rules first; a stale reading is told apart before its signature is recovered, since sending one again
    ///      is what an outbox does after a failure.
    function _check(SignedReading calldata signed, bytes32 separator)
        private
        view
        returns (Outcome outcome, bytes32 hash, State memory last)
    {
        Reading calldata reading = signed.reading;
        Status status = _registrations[reading.meter].status;
        if (status != Status.Active) {
            return (status == Status.Removed ? Outcome.InactiveMeter : Outcome.UnknownMeter, 0, last);
        }
        last = _states[reading.meter];
        if (reading.sequence <= last.sequence) return (Outcome.Stale, 0, last);
        hash = _hash(reading);
        if (_signer(signed, hash, separator) != reading.meter) return (Outcome.InvalidSignature, hash, last);
        if (
            reading.sequence > MAX_SEQUENCE || reading.importWh > MAX_REGISTER_WH || reading.exportWh > MAX_REGISTER_WH
        ) return (Outcome.OutOfRange, hash, last);
        if (reading.time > block.timestamp + MAX_AHEAD_S) return (Outcome.TimeInFuture, hash, last);
        if (reading.time < last.time) return (Outcome.TimeFell, hash, last);
        if (reading.importWh < last.importWh) return (Outcome.ImportFell, hash, last);
        if (reading.exportWh < last.exportWh) return (Outcome.ExportFell, hash, last);
    }

    /// @dev All of the meter's own is written before its sink is called, so a sink that calls back meets a finished
    ///      reading. What the totals gain is gathered in `added`, to be written once: a sum does not mind the order.
    function _accept(Reading calldata reading, bytes32 hash, State memory last, Totals memory added) private {
        address meter = reading.meter;
        bytes32 lastHash = _hashes[meter];
        if (reading.previousHash != lastHash) {
            emit ReadingGapFound(meter, last.sequence, reading.sequence, lastHash, reading.previousHash);
        }
        // No conversion below loses bits: _check has bounded sequence and registers, and time by the block's own.
        _states[meter] = State({
            importWh: uint56(reading.importWh),
            exportWh: uint56(reading.exportWh),
            sequence: uint48(reading.sequence),
            time: uint48(reading.time),
            powerW: reading.powerW,
            flags: reading.flags
        });
        _hashes[meter] = hash;
        uint64 importedWh;
        uint64 exportedWh;
        unchecked {
            // _check has seen that neither register falls.
            importedWh = reading.importWh - last.importWh;
            exportedWh = reading.exportWh - last.exportWh;
        }
        added.importedWh += importedWh;
        added.exportedWh += exportedWh;
        added.powerW += int64(reading.powerW) - last.powerW;
        Registration storage registration = _registrations[meter];
        address supplier = registration.supplier;
        emit ReadingAccepted(
            meter,
            supplier,
            reading.sequence,
            reading.time,
            reading.importWh,
            reading.exportWh,
            reading.powerW,
            reading.flags,
            reading.previousHash
        );
        IReadingSink(sinkOf[registration.sinkNumber]).onReading(meter, supplier, importedWh, exportedWh, reading.time);
    }

    function _add(Totals memory added) private {
        Totals memory sum = _totals;
        sum.importedWh += added.importedWh;
        sum.exportedWh += added.exportedWh;
        sum.powerW += added.powerW;
        _totals = sum;
    }

    function _open(address meter, uint64 openingImportWh, uint64 openingExportWh) internal override {
        State storage state = _states[meter];
        if (openingImportWh > MAX_REGISTER_WH || openingExportWh > MAX_REGISTER_WH) {
            revert ReadingOutOfRange(meter, state.sequence, openingImportWh, openingExportWh);
        }
        if (openingImportWh < state.importWh) revert ImportFell(meter, openingImportWh, state.importWh);
        if (openingExportWh < state.exportWh) revert ExportFell(meter, openingExportWh, state.exportWh);
        state.importWh = uint56(openingImportWh);
        state.exportWh = uint56(openingExportWh);
        ++_totals.meters;
    }

    function _close(address meter) internal override {
        State storage state = _states[meter];
        _totals.powerW -= state.powerW;
        --_totals.meters;
        state.powerW = 0;
    }

    function _hash(Reading calldata reading) private pure returns (bytes32) {
        return keccak256(
            abi.encode(
                READING_TYPEHASH,
                reading.meter,
                reading.sequence,
                reading.time,
                reading.importWh,
                reading.exportWh,
                reading.powerW,
                reading.flags,
                reading.previousHash
            )
        );
    }

    /// @dev The address that signed, or zero where the signature is malformed or its s is in the upper half.
    function _signer(SignedReading calldata signed, bytes32 hash, bytes32 separator) private pure returns (address signer) {
        (signer,,) = ECDSA.tryRecover(MessageHashUtils.toTypedDataHash(separator, hash), signed.r, signed.vs);
    }

    function _revertWith(Outcome outcome, SignedReading calldata signed, State memory last) private view {
        Reading calldata reading = signed.reading;
        address meter = reading.meter;
        if (outcome == Outcome.Stale) revert ReadingStale(meter, reading.sequence, last.sequence);
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
        if (outcome == Outcome.TimeFell) revert TimeFell(meter, reading.time, last.time);
        if (outcome == Outcome.ImportFell) revert ImportFell(meter, reading.importWh, last.importWh);
        revert ExportFell(meter, reading.exportWh, last.exportWh);
    }
}
