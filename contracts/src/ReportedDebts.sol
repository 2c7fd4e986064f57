// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IMeter} from "./IMeter.sol";
import {IRegistry} from "./IRegistry.sol";
import {TariffMath} from "./TariffMath.sol";

/// @title Usage and debt that a meter's own program reports (El DApp, listings 1 and 4, table 1)
/// @notice Invariant: usage and bill of an account change only while it is active: by its provider to any value, by the
///         account itself only upwards and only where its provider lets it report; nobody else writes them. They are a
///         record in whatever units the provider and the program agree on (in the paper kWh and rupees, rounded): no
///         money stands behind them, and none moves by them.
/// @dev In the listing a provider may write any user's debt. Here a provider is a supplier of the registry and writes those
///      accounts that it has activated; an account may leave, and then keeps its values until a supplier activates it.
abstract contract ReportedDebts {
    /// @dev Two slots.
    struct Service {
        address provider;
        bool active;
        bool selfReporting;
        uint40 lastUpdate;
        uint128 usage;
        uint128 bill;
    }

    struct Provider {
        string name;
        string description;
    }

    /// @notice A provider keeps the usage and the bill of this account from now on.
    /// @param selfReporting whether the account itself may raise them, as the program of listing 4 does
    event AccountActivated(address indexed user, address indexed provider, bool selfReporting);
    event AccountDeactivated(address indexed user, address indexed provider, address indexed by);
    event UsageSet(address indexed user, address indexed by, uint256 usage);
    event BillSet(address indexed user, address indexed by, uint256 bill);
    event ProviderDescribed(address indexed provider, string name, string description);

    error ZeroAddress();
    error NotSupplier(address caller);
    error AccountNotActive(address user);
    error AccountTaken(address user, address provider);
    error NotProviderOf(address user, address caller);
    error UsageFell(address user, uint256 usage, uint256 lastUsage);
    error BillFell(address user, uint256 bill, uint256 lastBill);
    error ValueTooLarge(uint256 value, uint256 maximum);
    error NameInvalid(uint256 nameBytes, uint256 maximumBytes);
    error DescriptionTooLong(uint256 descriptionBytes, uint256 maximumBytes);

    /// @notice Greatest usage and bill that can be reported.
    uint256 public constant MAX_REPORTED = type(uint128).max;
    /// @notice Length of a provider's name and description, in bytes of UTF-8: what fits the head of a bill.
    uint256 public constant MAX_NAME_BYTES = 64;
    uint256 public constant MAX_DESCRIPTION_BYTES = 256;

    /// @notice Says who is a supplier.
    IRegistry public registry;
    /// @notice Says what a provider's local time is.
    IMeter public meterContract;
    mapping(address user => Service) private _services;
    mapping(address provider => Provider) private _providers;
    /// @notice The usage that stood at the end of a local day, counted from 1970-01-01, of the provider; for the current
    ///         day the usage so far; 0 for a day without a report. (Table 1: a list at the end of each day.)
    mapping(address user => mapping(uint256 day => uint256 usage)) public usageOfDay;

    /// @notice Sets the name and the description of the caller as a provider. By a supplier.
    function describeProvider(string calldata name, string calldata description) external {
        _checkSupplier();
        if (bytes(name).length == 0 || bytes(name).length > MAX_NAME_BYTES) {
            revert NameInvalid(bytes(name).length, MAX_NAME_BYTES);
        }
        if (bytes(description).length > MAX_DESCRIPTION_BYTES) {
            revert DescriptionTooLong(bytes(description).length, MAX_DESCRIPTION_BYTES);
        }
        _providers[msg.sender] = Provider(name, description);
        emit ProviderDescribed(msg.sender, name, description);
    }

    /// @notice Begins to keep an account, or changes whether it may report itself. By a supplier; an account that is
    ///         active with another one is refused. With another provider than before, usage and bill begin at 0.
    function activate(address user, bool selfReporting) external {
        _checkSupplier();
        if (user == address(0)) revert ZeroAddress();
        Service storage service = _services[user];
        address before = service.provider;
        if (service.active && before != msg.sender) revert AccountTaken(user, before);
        service.provider = msg.sender;
        service.active = true;
        service.selfReporting = selfReporting;
        emit AccountActivated(user, msg.sender, selfReporting);
        if (before != msg.sender) {
            if (service.usage != 0) emit UsageSet(user, msg.sender, 0);
            if (service.bill != 0) emit BillSet(user, msg.sender, 0);
            service.usage = 0;
            service.bill = 0;
        }
    }

    /// @notice Ends it: the values stay as they are. By the provider, or the account itself.
    function deactivate(address user) external {
        Service storage service = _services[user];
        if (!service.active) revert AccountNotActive(user);
        if (msg.sender != service.provider && msg.sender != user) revert NotProviderOf(user, msg.sender);
        service.active = false;
        emit AccountDeactivated(user, service.provider, msg.sender);
    }

    /// @notice Sets usage and bill of an account. By its provider; by the account itself where it reports itself, and then
    ///         neither may fall.
    function setDebt(uint256 usage, uint256 bill, address user) external {
        bool byProvider = _checkWriter(user);
        _setUsage(user, usage, byProvider);
        _setBill(user, bill, byProvider);
    }

    /// @notice Sets the usage of the caller's own account, where it reports itself; not below what it was.
    function setUsage(uint256 usage) external {
        _setUsage(msg.sender, usage, _checkWriter(msg.sender));
    }

    /// @notice Sets the bill of the caller's own account, where it reports itself; not below what it was.
    function setBill(uint256 bill) external {
        _setBill(msg.sender, bill, _checkWriter(msg.sender));
    }

    /// @notice The reported usage of an account.
    function getUsage(address user) external view returns (uint256 usage) {
        return _services[user].usage;
    }

    /// @notice The reported bill of an account.
    function getBill(address user) external view returns (uint256 bill) {
        return _services[user].bill;
    }

    /// @notice All that is kept of an account that is reported; `lastUpdate` is the Unix time of the last report, in s.
    function services(address user)
        external
        view
        returns (
            bool active,
            bool selfReporting,
            uint256 lastUpdate,
            uint256 usage,
            uint256 bill,
            address provider,
            string memory name,
            string memory description
        )
    {
        Service memory service = _services[user];
        Provider memory described = _providers[service.provider];
        return (
            service.active,
            service.selfReporting,
            service.lastUpdate,
            service.usage,
            service.bill,
            service.provider,
            described.name,
            described.description
        );
    }

    /// @notice What a provider is called.
    function providerName(address provider) external view returns (string memory name) {
        return _providers[provider].name;
    }

    function providerDescription(address provider) external view returns (string memory description) {
        return _providers[provider].description;
    }

    function _checkSupplier() internal view {
        if (registry.roleOf(msg.sender) != IRegistry.Role.Supplier) revert NotSupplier(msg.sender);
    }

    /// @return byProvider whether it is the provider who writes, who may also correct downwards
    function _checkWriter(address user) private view returns (bool byProvider) {
        Service storage service = _services[user];
        if (!service.active) revert AccountNotActive(user);
        byProvider = msg.sender == service.provider;
        if (!byProvider && (msg.sender != user || !service.selfReporting)) revert NotProviderOf(user, msg.sender);
    }

    function _setUsage(address user, uint256 usage, bool byProvider) private {
        Service storage service = _services[user];
        if (usage > MAX_REPORTED) revert ValueTooLarge(usage, MAX_REPORTED);
        if (!byProvider && usage < service.usage) revert UsageFell(user, usage, service.usage);
        service.usage = uint128(usage);
        service.lastUpdate = uint40(block.timestamp);
        int32 zoneS = meterContract.zoneOf(service.provider, uint64(block.timestamp));
        usageOfDay[user][TariffMath.localSecond(block.timestamp, zoneS) / TariffMath.DAY_S] = usage;
        emit UsageSet(user, msg.sender, usage);
    }

    function _setBill(address user, uint256 bill, bool byProvider) private {
        Service storage service = _services[user];
        if (bill > MAX_REPORTED) revert ValueTooLarge(bill, MAX_REPORTED);
        if (!byProvider && bill < service.bill) revert BillFell(user, bill, service.bill);
        service.bill = uint128(bill);
        service.lastUpdate = uint40(block.timestamp);
        emit BillSet(user, msg.sender, bill);
    }
}
