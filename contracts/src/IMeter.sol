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
    /// @param flags status bits: 1 tamper, 2 cover open, 4 clock set, 8 power lost, 16 supply off, 32 gap, 64 restarted,
    ///        128 settings changed, 256 program changed, 512 jump, 1024 stuck, 2048 device changed, 4096 override,
    ///        8192 calibrated, 16384 threshold; the last is reserved
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

    /// @notice Energy of a day or of several, in Wh.
    struct Usage {
        uint256 importedWh;
        uint256 exportedWh;
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
        ExportFell,
        BeforeInstallation
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

    /// @notice A local day of a meter is over: all energy of its readings in that day, in Wh. It comes with the first
    ///         reading of a later day, or when the meter leaves; comes again, with a greater sum, for a day in which a
    ///         meter left and came back.
    /// @param day days from 1970-01-01 to it, in the supplier's local time
    event DayClosed(
        address indexed meter, address indexed supplier, uint32 indexed day, uint256 importedWh, uint256 exportedWh
    );
    /// @notice A meter left its place to a successor: the energy up to these registers was counted and charged.
    event RegistersClosed(
        address indexed meter, address indexed supplier, uint64 time, uint64 importWh, uint64 exportWh
    );
    /// @notice The local time of a supplier's meters from a Unix time on: seconds east of UTC.
    event ZoneSet(address indexed supplier, int32 offsetS, uint64 from);

    error ReadingStale(address meter, uint64 sequence, uint64 lastSequence);
    error MeterUnknown(address meter);
    error MeterInactive(address meter);
    error SignatureInvalid(address meter, address recovered);
    error ReadingOutOfRange(address meter, uint64 sequence, uint64 importWh, uint64 exportWh);
    error TimeInFuture(address meter, uint64 time, uint64 latestTime);
    /// @dev Its registers count from the installation, or from when it was brought back: before that it was not read.
    error TimeBeforeInstallation(address meter, uint64 time, uint64 earliestTime);
    error TimeFell(address meter, uint64 time, uint64 lastTime);
    error ImportFell(address meter, uint64 importWh, uint64 lastImportWh);
    error ExportFell(address meter, uint64 exportWh, uint64 lastExportWh);
    error BatchSizeInvalid(uint256 size, uint256 maximum);
    error DayRangeInvalid(uint32 firstDay, uint32 lastDay, uint256 maximum);
    error ZoneInvalid(int32 offsetS, int32 minimumS, int32 maximumS, int32 stepS);
    error ZoneTooSoon(uint64 from, uint64 earliest);
    /// @dev Local time would fall back to a day that is over; choose another time of the day for the change.
    error ZoneRepeatsDay(int32 offsetS, uint64 from);

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

    /// @notice Seconds east of UTC of a supplier's local time, at a Unix time.
    function zoneOf(address supplier, uint64 time) external view returns (int32 offsetS);

    /// @notice The local day in which the last reading of a meter lies, with its energy so far.
    function currentDayOf(address meter) external view returns (uint32 day, uint256 importedWh, uint256 exportedWh);

    /// @notice Energy of a meter in each hour of a local day. Kept for the last 32 days that had readings, else zero.
    /// @return importedWh energy taken from the grid in each hour, in Wh; an hour shows 1.09 TWh at most
    /// @return exportedWh energy given to the grid in each hour, in Wh, with the same limit
    function hoursOf(address meter, uint32 day)
        external
        view
        returns (uint64[24] memory importedWh, uint64[24] memory exportedWh);

    /// @notice Energy of one meter from a local day to another, both included and the current one too.
    /// @dev At most MAX_DAYS of them; as for all ranges of days.
    function usageOfMeter(address meter, uint32 firstDay, uint32 lastDay) external view returns (Usage memory sum);

    /// @notice The same day by day.
    function daysOfMeter(address meter, uint32 firstDay, uint32 lastDay) external view returns (Usage[] memory list);

    /// @notice Energy of all meters of a supplier in the closed days of a range: a day counts when DayClosed tells of it.
    function usageOfSupplier(address supplier, uint32 firstDay, uint32 lastDay)
        external
        view
        returns (Usage memory sum);

    /// @notice The same day by day.
    function daysOfSupplier(address supplier, uint32 firstDay, uint32 lastDay)
        external
        view
        returns (Usage[] memory list);

    /// @notice Energy of all meters in the closed days of a range; each meter's day is that of its supplier's zone.
    function usageOfAll(uint32 firstDay, uint32 lastDay) external view returns (Usage memory sum);

    /// @notice The same day by day.
    function daysOfAll(uint32 firstDay, uint32 lastDay) external view returns (Usage[] memory list);
}
