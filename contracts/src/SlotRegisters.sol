// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";

import {IMeter} from "./IMeter.sol";
import {Meter} from "./Meter.sol";

/// @title What a meter's registers showed at a certain time, proven by its signed readings
/// @notice Invariant: for a meter and a time there is one state of the registers at most, and it never changes once it is
///         proven. Between two such times each Wh counts once: what is after the one is before the other.
/// @dev The Meter keeps the last reading only. Here two successive readings around the time are shown again: the later
///      one names the hash of the earlier one, so no third lies between them, and there is no choice of readings. The
///      registers at the time lie on the straight line between the two; a reading of that very second gives them exactly.
abstract contract SlotRegisters {
    /// @dev One slot.
    /// @param importWh energy taken from the grid until that time, in Wh
    /// @param exportWh energy given to the grid until that time, in Wh
    struct Registers {
        uint64 importWh;
        uint64 exportWh;
        bool proven;
    }

    /// @notice The registers of a meter at a Unix time are proven, in Wh.
    event RegistersProven(address indexed meter, uint48 indexed time, uint64 importWh, uint64 exportWh);

    /// @dev The readings must be of the same meter, and the later one must name the hash of the earlier one.
    error ReadingsNotSuccessive(address meter, uint64 sequence, uint64 laterSequence);
    /// @dev The time must be after the earlier reading, and not after the later one.
    error TimeNotBetween(uint48 time, uint64 earlierTime, uint64 laterTime);
    error ReadingsTooFarApart(address meter, uint64 earlierTime, uint64 laterTime, uint64 maximumS);
    /// @dev The Meter has not accepted this reading or one after it.
    error ReadingNotAccepted(address meter, uint64 sequence, uint64 lastSequence);
    error SignatureInvalid(address meter, address recovered);

    /// @notice Longest time between two readings for which the energy is taken as spread evenly.
    uint64 public constant MAX_READING_GAP_S = 1 hours;

    mapping(address meter => mapping(uint48 time => Registers)) private _registers;

    /// @notice Proves a meter's registers at a Unix time. By anybody. Nothing happens where they are proven already.
    /// @param time in s, after the earlier reading and not after the later one
    /// @param earlier a reading
    /// @param later the reading that the meter signed next; accepted by the Meter, or followed by one that is
    function proveRegisters(uint48 time, IMeter.SignedReading calldata earlier, IMeter.SignedReading calldata later)
        external
    {
        IMeter.Reading calldata first = earlier.reading;
        IMeter.Reading calldata second = later.reading;
        address meter = first.meter;
        if (_registers[meter][time].proven) return;
        if (
            second.meter != meter || second.previousHash != _signedHash(earlier) || second.sequence <= first.sequence
                || second.importWh < first.importWh || second.exportWh < first.exportWh
        ) revert ReadingsNotSuccessive(meter, first.sequence, second.sequence);
        _signedHash(later);
        if (time <= first.time || time > second.time) revert TimeNotBetween(time, first.time, second.time);
        uint256 wholeS = second.time - first.time;
        if (wholeS > MAX_READING_GAP_S) {
            revert ReadingsTooFarApart(meter, first.time, second.time, MAX_READING_GAP_S);
        }
        IMeter.LastReading memory last = _meterContract().lastReading(meter);
        if (second.sequence > last.sequence || second.importWh > last.importWh || second.exportWh > last.exportWh) {
            revert ReadingNotAccepted(meter, second.sequence, last.sequence);
        }
        // Rounded down. Registers of accepted readings are below 2^53, so nothing here can overflow.
        uint256 sinceS = time - first.time;
        uint64 importWh = first.importWh + uint64((second.importWh - first.importWh) * sinceS / wholeS);
        uint64 exportWh = first.exportWh + uint64((second.exportWh - first.exportWh) * sinceS / wholeS);
        _registers[meter][time] = Registers(importWh, exportWh, true);
        emit RegistersProven(meter, time, importWh, exportWh);
    }

    /// @notice A meter's registers at a Unix time, as far as they are proven.
    function registersAt(address meter, uint48 time) external view returns (Registers memory) {
        return _registers[meter][time];
    }

    /// @dev Energy of a meter from one time to another, in Wh, where both are proven.
    function _energyBetween(address meter, uint48 from, uint48 until)
        internal
        view
        returns (bool proven, uint64 importWh, uint64 exportWh)
    {
        Registers memory first = _registers[meter][from];
        Registers memory last = _registers[meter][until];
        proven = first.proven && last.proven;
        if (!proven) return (false, 0, 0);
        // Registers of an honest meter never fall. One that has signed others has no energy, and stops nothing.
        importWh = last.importWh > first.importWh ? last.importWh - first.importWh : 0;
        exportWh = last.exportWh > first.exportWh ? last.exportWh - first.exportWh : 0;
    }

    /// @dev Where the readings are kept.
    function _meterContract() internal view virtual returns (IMeter);

    /// @dev The hash of a reading by which the next one names it. Reverts where the meter has not signed it.
    function _signedHash(IMeter.SignedReading calldata signed) private view returns (bytes32 hash) {
        Meter meterContract = Meter(address(_meterContract()));
        hash = meterContract.hashReading(signed.reading);
        bytes32 digest = MessageHashUtils.toTypedDataHash(meterContract.domainSeparator(), hash);
        (address signer,,) = ECDSA.tryRecover(digest, signed.r, signed.vs);
        if (signer == address(0) || signer != signed.reading.meter) {
            revert SignatureInvalid(signed.reading.meter, signer);
        }
    }
}
