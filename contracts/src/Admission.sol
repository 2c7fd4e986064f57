// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IRegistry} from "./IRegistry.sol";

/// @title Admission: whose transactions a network without fees takes, and how much gas each has in a block
/// @notice Invariant: whoever is admitted has a role from a regulator (or is the registry's owner), or somebody vouches for
///         it whom no regulator distrusts: the supplier of its meters for their owner, of a meter for its key, and who
///         named a relay for the relay. A distrusted supplier keeps what it needs for its own money, no more.
/// @dev A part of Registry. An answer reads at most 2 * MAX_VOUCHERS + 8 slots.
abstract contract Admission is IRegistry {
    /// @dev One slot.
    struct Member {
        Role role;
        bool isDistrusted;
        bool suppliedMeter;
        bool isActiveMeter;
        uint64 gasAllowance;
    }

    /// @notice Gas in a block of each sender who has no allowance of its own.
    event DefaultGasAllowanceSet(uint64 gas, address indexed by);
    /// @notice Gas in a block of one sender; 0: the default again.
    event GasAllowanceSet(address indexed account, uint64 gas, address indexed by);
    /// @notice Nobody is admitted any more for whom nobody but this supplier vouches.
    event SupplierDistrusted(address indexed supplier, address indexed by);
    /// @notice It vouches again for those whom it has named.
    event SupplierTrusted(address indexed supplier, address indexed by);

    error NotRegulator(address caller);
    error GasAllowanceInvalid(uint64 gas, uint64 minimum, uint64 maximum);
    /// @dev Its role has to be taken away first: what has a role vouches by it.
    error SupplierHasRole(address supplier, Role role);
    error SupplierIsDistrusted(address supplier);
    error SupplierNotDistrusted(address supplier);

    /// @notice Gas allowances, a block: the least is enough for any single action of a customer, the most is a block.
    uint64 public constant MIN_GAS_ALLOWANCE = 1_000_000;
    uint64 public constant MAX_GAS_ALLOWANCE = 30_000_000;
    /// @notice What holds until a regulator sets another default: two batches of fifty readings.
    uint64 public constant FIRST_GAS_ALLOWANCE = 6_000_000;
    /// @notice Suppliers that vouch for one owner of meters, so that a question costs a bounded number of slots. Where all
    ///         of them do, one more changes nothing.
    uint256 public constant MAX_VOUCHERS = 8;

    mapping(address account => Member) internal _members;
    /// @dev 0: FIRST_GAS_ALLOWANCE.
    uint64 private _defaultGasAllowance;
    /// @notice Who added a relay.
    mapping(address relay => address) public relayAddedBy;
    /// @dev Suppliers that have installed a meter of this owner.
    mapping(address owner => address[]) private _vouchers;

    modifier onlyRegulator() {
        if (_members[msg.sender].role != Role.Regulator) revert NotRegulator(msg.sender);
        _;
    }

    /// @notice Sets the gas in a block of each sender without an allowance of its own.
    function setDefaultGasAllowance(uint64 gas) external onlyRegulator {
        _checkGasAllowance(gas);
        _defaultGasAllowance = gas;
        emit DefaultGasAllowanceSet(gas, msg.sender);
    }

    /// @notice Sets the gas in a block of one sender; 0 for the default. It admits nobody.
    function setGasAllowance(address account, uint64 gas) external onlyRegulator {
        if (gas != 0) _checkGasAllowance(gas);
        _members[account].gasAllowance = gas;
        emit GasAllowanceSet(account, gas, msg.sender);
    }

    /// @notice Ends the admission of all whom a supplier has brought: owners of its meters, its meters' keys, its relays,
    ///         but for those who have a role or another supplier's meter. For one that has filled blocks by people of its
    ///         invention; customers of one that only gives up are better left admitted.
    /// @param supplier who was one, or named relays as one; without a role
    function distrust(address supplier) external onlyRegulator {
        Member storage member = _members[supplier];
        if (member.role != Role.None) revert SupplierHasRole(supplier, member.role);
        if (member.isDistrusted) revert SupplierIsDistrusted(supplier);
        member.isDistrusted = true;
        emit SupplierDistrusted(supplier, msg.sender);
    }

    /// @notice Takes that back: all whom it has brought are admitted again.
    function trust(address supplier) external onlyRegulator {
        Member storage member = _members[supplier];
        if (!member.isDistrusted) revert SupplierNotDistrusted(supplier);
        member.isDistrusted = false;
        emit SupplierTrusted(supplier, msg.sender);
    }

    /// @notice Whether a regulator distrusts a supplier.
    function isDistrusted(address supplier) public view returns (bool) {
        return _members[supplier].isDistrusted;
    }

    /// @notice The suppliers that vouch for an owner of meters, distrusted ones among them.
    function vouchersOf(address owner_) external view returns (address[] memory suppliers) {
        return _vouchers[owner_];
    }

    /// @notice Gas in a block of each sender without an allowance of its own.
    function defaultGasAllowance() public view returns (uint64) {
        uint64 gas = _defaultGasAllowance;
        return gas == 0 ? FIRST_GAS_ALLOWANCE : gas;
    }

    /// @inheritdoc IRegistry
    function isAdmitted(address sender) public view returns (bool) {
        Member memory member = _members[sender];
        if (member.role == Role.Relay) {
            if (!isDistrusted(relayAddedBy[sender])) return true;
        } else if (member.role != Role.None) {
            return true;
        }
        if (member.suppliedMeter || _ownsRegistry(sender)) return true;
        if (member.isActiveMeter && !isDistrusted(_supplierOf(sender))) return true;
        return _isVouchedFor(sender);
    }

    /// @inheritdoc IRegistry
    function gasAllowanceOf(address sender) external view returns (uint64 gas) {
        if (!isAdmitted(sender)) return 0;
        if (isDistrusted(sender)) return MIN_GAS_ALLOWANCE;
        gas = _members[sender].gasAllowance;
        if (gas == 0) gas = defaultGasAllowance();
    }

    /// @dev A distrusted supplier's place is another one's.
    function _vouch(address owner_, address supplier) internal {
        address[] storage vouchers = _vouchers[owner_];
        uint256 count = vouchers.length;
        uint256 free = count;
        for (uint256 index = 0; index < count; ++index) {
            if (vouchers[index] == supplier) return;
            if (isDistrusted(vouchers[index])) free = index;
        }
        if (free < count) vouchers[free] = supplier;
        else if (count < MAX_VOUCHERS) vouchers.push(supplier);
    }

    /// @dev Whether an address owns the registry.
    function _ownsRegistry(address account) internal view virtual returns (bool);

    /// @dev The supplier of a meter.
    function _supplierOf(address meter) internal view virtual returns (address);

    function _isVouchedFor(address owner_) private view returns (bool) {
        address[] storage vouchers = _vouchers[owner_];
        uint256 count = vouchers.length;
        for (uint256 index = 0; index < count; ++index) {
            if (!isDistrusted(vouchers[index])) return true;
        }
        return false;
    }

    function _checkGasAllowance(uint64 gas) private pure {
        if (gas < MIN_GAS_ALLOWANCE || gas > MAX_GAS_ALLOWANCE) {
            revert GasAllowanceInvalid(gas, MIN_GAS_ALLOWANCE, MAX_GAS_ALLOWANCE);
        }
    }
}
