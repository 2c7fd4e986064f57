// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IRegistry} from "./IRegistry.sol";

/// @title Policy: what customers want their own meters to do (Wattcoin paper, III.A and III.C)
/// @notice Invariant: a policy is written only by the owner of its meter, or by a person whom that owner has appointed for
///         that meter; each writing replaces all values at once and raises the version by exactly one, also over a change
///         of the meter or of its key; and the events tell every value of every version.
/// @dev A meter asks for `versionOf` (one number) and takes the values over by itself when it has risen. The contract
///      holds no money, and nobody has a say in it but owners.
contract Policy {
    /// @notice What a meter is to do; 0 stands for "never" or "no limit" in each of the numbers.
    /// @param savingAbovePowerW power-saving mode while the power taken is above this, in W
    /// @param savingAboveEnergyWh power-saving mode for the rest of a local day in which more than this was taken, in Wh
    /// @param maximumLoadW the supply is cut while the power taken is above this, in W
    /// @param alertAbovePowerW the customer is told when the power taken rises above this, in W
    /// @param alertAboveEnergyWh the customer is told when more than this was taken in a local day, in Wh
    /// @param offTimes when circuits are off, up to MAX_OFF_TIMES
    struct Values {
        uint32 savingAbovePowerW;
        uint56 savingAboveEnergyWh;
        uint32 maximumLoadW;
        uint32 alertAbovePowerW;
        uint56 alertAboveEnergyWh;
        OffTime[] offTimes;
    }

    /// @notice A circuit is off on these weekdays between these minutes of the local day.
    /// @param circuit number of the circuit, from 1
    /// @param weekdays bit 0 Monday to bit 6 Sunday
    /// @param fromMinute first minute of the local day, 0 to 1439
    /// @param untilMinute minute before which it ends, up to 1440; it does not pass midnight (give two)
    struct OffTime {
        uint8 circuit;
        uint8 weekdays;
        uint16 fromMinute;
        uint16 untilMinute;
    }

    /// @dev `version` 0: never written under this meter.
    struct Stored {
        uint32 version;
        uint40 setAt;
        Values values;
    }

    /// @notice A policy was written; from now on these are all its values.
    /// @param version number of this version, one above the version before
    event PolicySet(address indexed meter, uint32 indexed version, address indexed writer, Values values);
    /// @notice The owner lets this person write the policy of a meter, too.
    event Appointed(address indexed meter, address indexed owner, address indexed person);
    /// @notice This person may no longer write it. By the owner or the person.
    event Dismissed(address indexed meter, address indexed person, address indexed by);

    error ZeroAddress();
    error MeterUnknown(address meter);
    error MeterNotActive(address meter);
    error NotOwner(address meter, address caller);
    /// @dev Neither the owner nor appointed by the present owner.
    error NotOwnerOrAppointed(address meter, address caller);
    error AlreadyAppointed(address meter, address person);
    error NotAppointed(address meter, address person);
    /// @dev Somebody else has written a version meanwhile; its values would be lost unseen.
    error VersionChanged(address meter, uint32 expectedVersion, uint32 version);
    error EnergyOutOfRange(uint56 energyWh, uint56 maximumWh);
    error TooManyOffTimes(uint256 count, uint256 maximum);
    error OffTimeInvalid(uint256 index, uint8 circuit, uint8 weekdays, uint16 fromMinute, uint16 untilMinute);

    /// @notice Off-times of one policy: two a day for each of the eight circuits of a home.
    uint256 public constant MAX_OFF_TIMES = 16;
    /// @notice Greatest energy, in Wh; as for a meter's registers.
    uint56 public constant MAX_ENERGY_WH = 2 ** 53 - 1;
    /// @notice Changes of a meter or its key, without a new version in between, over which a policy is found.
    uint256 public constant MAX_PREDECESSORS = 64;
    uint256 private constant DAY_MINUTES = 1_440;
    uint256 private constant ALL_WEEKDAYS = 127;

    /// @notice Says whose a meter is, and whose place it took.
    IRegistry public registry;
    mapping(address meter => Stored) private _policies;
    /// @dev By which owner a person was appointed: it ends by itself where the meter gets another owner.
    mapping(address meter => mapping(address person => address owner)) private _appointedBy;

    constructor(IRegistry registry_) {
        if (address(registry_) == address(0)) revert ZeroAddress();
        registry = registry_;
    }

    /// @notice Writes the policy of a meter. By its owner, or a person whom the owner appointed for it.
    /// @param meter an active meter
    /// @param expectedVersion the version that these values replace; 0 for a first policy
    /// @param values all values, also those that stay
    /// @return version number of the new version
    function setPolicy(address meter, uint32 expectedVersion, Values calldata values)
        external
        returns (uint32 version)
    {
        address owner = _ownerOfActive(meter);
        if (msg.sender != owner && _appointedBy[meter][msg.sender] != owner) {
            revert NotOwnerOrAppointed(meter, msg.sender);
        }
        version = versionOf(meter);
        if (version != expectedVersion) revert VersionChanged(meter, expectedVersion, version);
        _check(values);
        ++version;
        Stored storage stored = _policies[meter];
        stored.version = version;
        stored.setAt = uint40(block.timestamp);
        stored.values = values;
        emit PolicySet(meter, version, msg.sender, values);
    }

    /// @notice Lets another person write the policy of a meter, until dismissed. By the owner. The appointment is for this
    ///         meter and its key: it ends when the meter or its key is replaced, or another owner comes.
    function appoint(address meter, address person) external {
        address owner = _ownerOfActive(meter);
        if (msg.sender != owner) revert NotOwner(meter, msg.sender);
        if (person == address(0)) revert ZeroAddress();
        if (_appointedBy[meter][person] == owner) revert AlreadyAppointed(meter, person);
        _appointedBy[meter][person] = owner;
        emit Appointed(meter, owner, person);
    }

    /// @notice Ends an appointment. By the owner, or by the person.
    function dismiss(address meter, address person) external {
        address owner = _ownerOf(meter);
        if (msg.sender != owner && msg.sender != person) revert NotOwner(meter, msg.sender);
        if (_appointedBy[meter][person] != owner) revert NotAppointed(meter, person);
        delete _appointedBy[meter][person];
        emit Dismissed(meter, person, msg.sender);
    }

    /// @notice The version of a meter's policy; 0 where there is none. A meter that has taken the place of another one of
    ///         the same owner goes on with its policy.
    function versionOf(address meter) public view returns (uint32 version) {
        return _policies[_writtenUnder(meter)].version;
    }

    /// @notice The policy of a meter, as `versionOf` has it.
    /// @return version its number; 0 where there is none, and then no value is set
    /// @return setAt Unix time at which it was written, in s
    function policyOf(address meter) external view returns (uint32 version, uint64 setAt, Values memory values) {
        Stored storage stored = _policies[_writtenUnder(meter)];
        return (stored.version, stored.setAt, stored.values);
    }

    /// @notice Whether a person may write the policy of a meter: its owner, or appointed by the present owner.
    function mayWrite(address meter, address person) external view returns (bool) {
        (IRegistry.Status status,, address owner,) = registry.registrationOf(meter);
        return status == IRegistry.Status.Active && (person == owner || _appointedBy[meter][person] == owner);
    }

    /// @dev The meter itself, or the nearest one before it that has a policy, of the same owner.
    function _writtenUnder(address meter) private view returns (address) {
        if (_policies[meter].version != 0) return meter;
        IRegistry.MeterRecord memory record = registry.meterOf(meter);
        address owner = record.owner;
        for (uint256 steps = 0; steps < MAX_PREDECESSORS && record.predecessor != address(0); ++steps) {
            address before = record.predecessor;
            record = registry.meterOf(before);
            if (record.owner != owner) break;
            if (_policies[before].version != 0) return before;
        }
        return meter;
    }

    function _ownerOfActive(address meter) private view returns (address owner) {
        IRegistry.Status status;
        (status,, owner,) = registry.registrationOf(meter);
        if (status == IRegistry.Status.Unknown) revert MeterUnknown(meter);
        if (status != IRegistry.Status.Active) revert MeterNotActive(meter);
    }

    function _ownerOf(address meter) private view returns (address owner) {
        IRegistry.Status status;
        (status,, owner,) = registry.registrationOf(meter);
        if (status == IRegistry.Status.Unknown) revert MeterUnknown(meter);
    }

    function _check(Values calldata values) private pure {
        if (values.savingAboveEnergyWh > MAX_ENERGY_WH) {
            revert EnergyOutOfRange(values.savingAboveEnergyWh, MAX_ENERGY_WH);
        }
        if (values.alertAboveEnergyWh > MAX_ENERGY_WH) {
            revert EnergyOutOfRange(values.alertAboveEnergyWh, MAX_ENERGY_WH);
        }
        uint256 count = values.offTimes.length;
        if (count > MAX_OFF_TIMES) revert TooManyOffTimes(count, MAX_OFF_TIMES);
        for (uint256 index = 0; index < count; ++index) {
            OffTime calldata one = values.offTimes[index];
            if (
                one.circuit == 0 || one.weekdays == 0 || one.weekdays > ALL_WEEKDAYS
                    || one.fromMinute >= one.untilMinute || one.untilMinute > DAY_MINUTES
            ) revert OffTimeInvalid(index, one.circuit, one.weekdays, one.fromMinute, one.untilMinute);
        }
    }
}
