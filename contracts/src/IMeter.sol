// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title The readings of all meters, as other contracts, wallets and indexes see them
interface IMeter {
    /// @notice What a meter signs, as EIP-712 typed data.
    /// @param meter address of the meter's own key
    /// @param sequence number of the reading; the first is at least 1, every later one is greater
    /// @param time Unix time, in s; never falls
    /// @param importWh cumulative register of energy taken from the grid, in Wh; never falls
    /// @param exportWh cumulative register of energy given to the grid, in Wh; never falls
    /// @param powerW power at this moment, in W; negative while more is given than taken
    /// @param flags status bits: 1 tamper, 2 cover open, 4 clock set, 8 power lost, 16 supply off, 32 gap, 64 restarted;
    ///        the others are reserved
    /// @param previousHash hashStruct (EIP-712) of the reading that the meter signed before this, zero for its first
    struct Reading {
        address meter;
        uint64 sequence;
        uint64 time;
        uint64 importWh;
        uint64 exportWh;
        int32 powerW;
        uint16 flags;
        bytes32 previousHash;
    }

    /// @notice A reading with its signature in the short form of ERC-2098, which has only one form for a signature.
    /// @param r first half of the signature
    /// @param vs second half, with the parity of the point in its highest bit
    struct SignedReading {
        Reading reading;
        bytes32 r;
        bytes32 vs;
    }

    /// @notice The last accepted reading of a meter. All zero but for the registers before the first one.
    /// @param hash hashStruct (EIP-712) of that reading
    struct LastReading {
        uint64 sequence;
        uint64 time;
        uint64 importWh;
        uint64 exportWh;
        int32 powerW;
        uint16 flags;
        bytes32 hash;
    }

    enum Status {
        Unknown,
        Active,
        Removed
    }

    /// @notice What became of a reading: accepted, or the first rule that it breaks.
    enum Outcome {
        Accepted,
        Stale,
        UnknownMeter,
        InactiveMeter,
        InvalidSignature,
        OutOfRange,
        TimeInFuture,
        TimeFell,
        ImportFell,
        ExportFell
    }

    /// @notice A reading was accepted; with `meter` these are all the fields that were signed.
    event ReadingAccepted(
        address indexed meter,
        address indexed supplier,
        uint64 sequence,
        uint64 time,
        uint64 importWh,
        uint64 exportWh,
        int32 powerW,
        uint16 flags,
        bytes32 previousHash
    );
    /// @notice A reading of a batch was left out. Meter and sequence are as submitted: anyone can cause this event.
    event ReadingRefused(address indexed meter, uint64 sequence, Outcome outcome);
    /// @notice An accepted reading does not follow on the one accepted before: readings between them are missing here.
    event ReadingGapFound(
        address indexed meter, uint64 lastSequence, uint64 sequence, bytes32 lastHash, bytes32 previousHash
    );

    error ReadingStale(address meter, uint64 sequence, uint64 lastSequence);
    error MeterUnknown(address meter);
    error MeterInactive(address meter);
    error SignatureInvalid(address meter, address recovered);
    error ReadingOutOfRange(address meter, uint64 sequence, uint64 importWh, uint64 exportWh);
    error TimeInFuture(address meter, uint64 time, uint64 latestTime);
    error TimeFell(address meter, uint64 time, uint64 lastTime);
    error ImportFell(address meter, uint64 importWh, uint64 lastImportWh);
    error ExportFell(address meter, uint64 exportWh, uint64 lastExportWh);
    error BatchSizeInvalid(uint256 size, uint256 maximum);

    /// @notice Accepts one reading and has it charged; reverts with the rule that it breaks. Anyone may carry it here.
    function submit(SignedReading calldata signed) external;

    /// @notice Accepts what can be accepted of up to MAX_BATCH readings, of any meters, in the given order.
    /// @return outcomes what became of each; every reading that is not Accepted has a ReadingRefused event
    function submitBatch(SignedReading[] calldata signed) external returns (Outcome[] memory outcomes);

    /// @notice What would become of a reading if it were submitted now.
    function check(SignedReading calldata signed) external view returns (Outcome outcome);

    /// @notice The last accepted reading of a meter.
    function lastReading(address meter) external view returns (LastReading memory last);

    /// @notice Usage of all meters together.
    /// @return importedWh energy taken from the grid in all accepted readings, in Wh
    /// @return exportedWh energy given to the grid in all accepted readings, in Wh
    /// @return powerW sum of the last known power of the active meters, in W
    /// @return meters number of active meters
    function totals() external view returns (uint256 importedWh, uint256 exportedWh, int256 powerW, uint256 meters);

    /// @notice Who a meter belongs to and who bills it; all zero where it is unknown.
    function registrationOf(address meter)
        external
        view
        returns (Status status, address supplier, address owner, address sink);
}
