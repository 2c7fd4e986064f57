// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IRegistry} from "./IRegistry.sol";
import {ITariffs} from "./ITariffs.sol";
import {IVersionListener} from "./IVersionListener.sol";
import {TariffMath} from "./TariffMath.sol";

/// @title Tariffs: what energy costs, version by version (El DApp, listing 4)
/// @notice Invariant: a tariff belongs to one supplier for good; its versions never change and are in order of the times
///         from which they hold; which version holds at a time that has passed never changes; and a version that
///         could make any reading dearer holds NOTICE_S after its announcement at the earliest.
/// @dev There is no administrator, and no money. A version is kept as the code of an account of its own, created here:
///      immutable, and one access brings all of it. Accounts are numbered by the nonce they were created with.
contract Tariffs is ITariffs {
    /// @dev One slot: the newest version, which may lie ahead.
    struct Tariff {
        address supplier;
        uint32 number;
        uint40 from;
    }

    struct EarlierVersion {
        uint32 number;
        uint40 from;
    }

    /// @dev Tariffs are numbered from 1. `versions` is how many accounts were created, and so the nonce of the last one.
    struct Counts {
        uint32 tariffs;
        uint32 versions;
    }

    event TariffCreated(uint32 indexed tariff, address indexed supplier, bytes32 name);
    /// @notice Readings of this Unix time or later are charged by this version. Replaces one not yet in force.
    event VersionAnnounced(uint32 indexed tariff, address indexed supplier, uint64 from, address data, Version version);

    error NotSupplier(address caller);
    error NotTariffOwner(uint32 tariff, address caller);
    error TariffUnknown(uint32 tariff);
    error TooManyTariffs(address supplier, uint256 maximum);
    error VersionTooSoon(uint64 from, uint64 earliest);
    error TimeTooLarge(uint64 from, uint64 maximum);
    error NameMissing();
    error ZeroAddress();
    error SlabCountInvalid(uint256 count, uint256 maximum);
    /// @dev Bounds of slabs rise, and the last one is 2^64 - 1.
    error SlabBoundInvalid(uint256 index, uint64 upToWh);
    error WindowCountInvalid(uint256 count, uint256 maximum);
    error WindowInvalid(uint256 index, uint8 weekdays, uint16 fromMinute, uint16 untilMinute);
    error WindowPricesInvalid(uint256 index, uint256 count, uint256 slabs);
    error PeriodInvalid(uint16 periodDays, uint24 anchorDay, uint256 maximumDays);
    error AllowanceDearer(uint64 allowancePriceWeiPerWh, uint64 lowestPriceWeiPerWh);
    error StorageFailed(uint32 number);

    /// @notice A day: prices rise that long after their announcement at the earliest, so that customers can react.
    uint64 public constant NOTICE_S = 1 days;
    /// @notice Tariffs of one supplier, so that its money can be gathered in one transaction.
    uint256 public constant MAX_TARIFFS = 64;
    uint64 private constant MAX_TIME = type(uint40).max;
    uint256 private constant ALL_WEEKDAYS = 127;

    /// @notice Says who is a supplier.
    IRegistry public registry;
    /// @notice Told of each version.
    IVersionListener public listener;
    Counts private _counts;
    mapping(uint32 tariff => Tariff) private _tariffs;
    /// @dev All versions before the newest, by time.
    mapping(uint32 tariff => EarlierVersion[]) private _earlier;
    mapping(address supplier => uint256[] tariffs) private _tariffsOf;
    /// @notice What a tariff is called: up to 32 bytes of UTF-8, padded with zeros.
    mapping(uint32 tariff => bytes32 name) public nameOf;

    constructor(IRegistry registry_, IVersionListener listener_) {
        if (address(registry_) == address(0) || address(listener_) == address(0)) revert ZeroAddress();
        registry = registry_;
        listener = listener_;
    }

    /// @notice Creates a tariff of the caller with its first version. By a supplier.
    /// @param name what it is called: up to 32 bytes of UTF-8, padded with zeros
    /// @param from Unix time from which it holds, in s, not in the past; 0 for now
    function createTariff(bytes32 name, uint64 from, Version calldata version) external returns (uint32 tariff) {
        _checkSupplier();
        if (name == 0) revert NameMissing();
        uint256[] storage own = _tariffsOf[msg.sender];
        if (own.length == MAX_TARIFFS) revert TooManyTariffs(msg.sender, MAX_TARIFFS);
        tariff = ++_counts.tariffs;
        own.push(tariff);
        nameOf[tariff] = name;
        _tariffs[tariff].supplier = msg.sender;
        emit TariffCreated(tariff, msg.sender, name);
        _announce(tariff, from, uint64(block.timestamp), version);
    }

    /// @notice Announces a version of a tariff of the caller. One that was announced and does not hold yet is replaced.
    /// @param from Unix time from which it holds, in s: NOTICE_S from now or later, or now or later where no reading
    ///        could cost more than by the version in force (none in force is the cheapest); 0 for the earliest
    function announceVersion(uint32 tariff, uint64 from, Version calldata version) external {
        _checkSupplier();
        Tariff memory latest = _tariffs[tariff];
        if (latest.supplier == address(0)) revert TariffUnknown(tariff);
        if (latest.supplier != msg.sender) revert NotTariffOwner(tariff, msg.sender);
        uint64 earliest = uint64(block.timestamp);
        if (!_isNowhereDearerThanAt(tariff, earliest, version)) earliest += NOTICE_S;
        if (latest.from <= block.timestamp) _earlier[tariff].push(EarlierVersion(latest.number, latest.from));
        _announce(tariff, from, earliest, version);
    }

    /// @notice How many tariffs there are; they are numbered from 1.
    function tariffCount() external view returns (uint256) {
        return _counts.tariffs;
    }

    /// @inheritdoc ITariffs
    function supplierOf(uint32 tariff) external view returns (address supplier) {
        return _tariffs[tariff].supplier;
    }

    /// @inheritdoc ITariffs
    function tariffsOf(address supplier) external view returns (uint256[] memory tariffs) {
        return _tariffsOf[supplier];
    }

    /// @notice The newest version of a tariff, which may lie ahead.
    /// @return from Unix time from which it holds, in s
    function latestVersion(uint32 tariff) external view returns (uint64 from, Version memory version) {
        Tariff memory latest = _tariffs[tariff];
        if (latest.supplier == address(0)) revert TariffUnknown(tariff);
        (version, from) = TariffMath.decode(TariffMath.createdAddress(address(this), latest.number));
    }

    /// @notice The version of a tariff that holds at a time; `from` is 0 and all else empty where none does.
    /// @param time Unix time, in s
    /// @return from Unix time from which it holds, in s
    function versionOf(uint32 tariff, uint64 time) external view returns (uint64 from, Version memory holding) {
        address data = versionAt(tariff, time);
        if (data != address(0)) (holding, from) = TariffMath.decode(data);
    }

    /// @notice What a reading would cost.
    /// @param tariff its tariff; the version that holds at `time` counts
    /// @param usedWh energy of the billing period before it, in Wh
    /// @param importedWh energy taken, in Wh; with usedWh below 2^56
    /// @param exportedWh energy given, in Wh; below 2^56
    /// @param time Unix time of the reading, in s; below 2^40
    /// @param zoneS seconds by which local time is ahead of UTC
    /// @return energyWei for the energy taken; without standing charges
    /// @return exportWei what the energy given is credited with
    function quote(uint32 tariff, uint56 usedWh, uint56 importedWh, uint56 exportedWh, uint40 time, int32 zoneS)
        external
        view
        returns (uint256 energyWei, uint256 exportWei)
    {
        TariffMath.Running memory running = TariffMath.Running(usedWh, type(uint24).max, type(uint24).max);
        TariffMath.Charge memory charged =
            TariffMath.charge(versionAt(tariff, time), running, importedWh, exportedWh, 0, time, zoneS);
        return (charged.energyWei, charged.exportWei);
    }

    /// @notice Whether no reading can cost more, or be credited with less, by the second version than by the first.
    /// @dev On the safe side: versions with other periods, rules, anchors or times of use are never said to be so.
    function isNowhereDearer(Version calldata old, Version calldata replacement) external pure returns (bool) {
        _check(old);
        _check(replacement);
        return _isNowhereDearer(old, replacement);
    }

    /// @inheritdoc ITariffs
    function versionAt(uint32 tariff, uint64 time) public view returns (address data) {
        Tariff memory latest = _tariffs[tariff];
        uint256 number = time >= latest.from ? latest.number : _earlierNumber(tariff, time);
        return number == 0 ? address(0) : TariffMath.createdAddress(address(this), number);
    }

    function _checkSupplier() private view {
        if (registry.roleOf(msg.sender) != IRegistry.Role.Supplier) revert NotSupplier(msg.sender);
    }

    /// @dev Before its first version a tariff costs nothing, and meters may have it already: any price is dearer.
    function _isNowhereDearerThanAt(uint32 tariff, uint64 time, Version calldata replacement)
        private
        view
        returns (bool)
    {
        address inForce = versionAt(tariff, time);
        if (inForce == address(0)) return false;
        (Version memory old,) = TariffMath.decode(inForce);
        return _isNowhereDearer(old, replacement);
    }

    function _announce(uint32 tariff, uint64 from, uint64 earliest, Version calldata announced) private {
        _check(announced);
        if (from == 0) from = earliest;
        if (from < earliest) revert VersionTooSoon(from, earliest);
        if (from > MAX_TIME) revert TimeTooLarge(from, MAX_TIME);
        uint32 number = ++_counts.versions;
        address data = _store(number, TariffMath.encode(announced, from));
        Tariff storage latest = _tariffs[tariff];
        latest.number = number;
        latest.from = uint40(from);
        emit VersionAnnounced(tariff, msg.sender, from, data, announced);
        listener.onVersion(tariff, number, uint40(from));
    }

    /// @dev Creates an account whose code is a STOP and the bytes. The code before it returns all that follows itself:
    ///      PUSH2 size, DUP1, PUSH1 10, RETURNDATASIZE (0), CODECOPY, RETURNDATASIZE, RETURN, and the STOP.
    ///      Assembly since Solidity has no expression for creating an account from bytes.
    function _store(uint32 number, bytes memory encoded) private returns (address data) {
        bytes memory creation =
            abi.encodePacked(hex"61", uint16(encoded.length + 1), hex"80600a3d393df300", encoded);
        assembly ("memory-safe") {
            data := create(0, add(creation, 32), mload(creation))
        }
        if (data != TariffMath.createdAddress(address(this), number)) revert StorageFailed(number);
    }

    /// @dev Binary search for the last earlier version that holds at `time`: about log2 of the number of versions steps.
    function _earlierNumber(uint32 tariff, uint64 time) private view returns (uint256) {
        EarlierVersion[] storage versions = _earlier[tariff];
        uint256 low = 0;
        uint256 high = versions.length;
        while (low < high) {
            uint256 middle = (low + high) / 2;
            if (versions[middle].from <= time) low = middle + 1;
            else high = middle;
        }
        return low == 0 ? 0 : versions[low - 1].number;
    }

    function _check(Version calldata checked) private pure {
        uint256 count = checked.slabs.length;
        if (count == 0 || count > TariffMath.MAX_SLABS) revert SlabCountInvalid(count, TariffMath.MAX_SLABS);
        uint64 lowest = type(uint64).max;
        uint64 bound = 0;
        for (uint256 index = 0; index < count; ++index) {
            Slab calldata slab = checked.slabs[index];
            bool isLast = index == count - 1;
            if (slab.upToWh <= bound || isLast != (slab.upToWh == type(uint64).max)) {
                revert SlabBoundInvalid(index, slab.upToWh);
            }
            bound = slab.upToWh;
            if (slab.priceWeiPerWh < lowest) lowest = slab.priceWeiPerWh;
        }
        uint256 windows = checked.windows.length;
        if (windows > TariffMath.MAX_WINDOWS) revert WindowCountInvalid(windows, TariffMath.MAX_WINDOWS);
        for (uint256 index = 0; index < windows; ++index) {
            Window calldata window = checked.windows[index];
            if (
                window.weekdays == 0 || window.weekdays > ALL_WEEKDAYS || window.fromMinute >= window.untilMinute
                    || window.untilMinute > TariffMath.DAY_MINUTES
            ) revert WindowInvalid(index, window.weekdays, window.fromMinute, window.untilMinute);
            if (window.pricesWeiPerWh.length != count) {
                revert WindowPricesInvalid(index, window.pricesWeiPerWh.length, count);
            }
            for (uint256 step = 0; step < count; ++step) {
                if (window.pricesWeiPerWh[step] < lowest) lowest = window.pricesWeiPerWh[step];
            }
        }
        if (
            checked.periodDays > TariffMath.MAX_PERIOD_DAYS || (checked.periodDays == 0 && checked.anchorDay != 0)
        ) revert PeriodInvalid(checked.periodDays, checked.anchorDay, TariffMath.MAX_PERIOD_DAYS);
        if (checked.allowancePriceWeiPerWh > (checked.allowanceWh == 0 ? 0 : lowest)) {
            revert AllowanceDearer(checked.allowancePriceWeiPerWh, lowest);
        }
    }

    function _isNowhereDearer(Version memory old, Version calldata replacement) private pure returns (bool) {
        if (
            old.whole != replacement.whole || old.periodDays != replacement.periodDays
                || old.anchorDay != replacement.anchorDay || old.windows.length != replacement.windows.length
                || replacement.standingWeiPerDay > old.standingWeiPerDay
                || replacement.exportPriceWeiPerWh < old.exportPriceWeiPerWh
                || replacement.allowanceWh < old.allowanceWh
        ) return false;
        // A larger allowance only lowers prices further, since its price is below all others of its version.
        if (old.allowanceWh != 0 && replacement.allowancePriceWeiPerWh > old.allowancePriceWeiPerWh) return false;
        for (uint256 index = 0; index < old.windows.length; ++index) {
            Window memory one = old.windows[index];
            Window calldata other = replacement.windows[index];
            if (
                one.weekdays != other.weekdays || one.fromMinute != other.fromMinute
                    || one.untilMinute != other.untilMinute
            ) return false;
        }
        return _areSlabsNowhereDearer(old, replacement);
    }

    /// @dev Walks both rows of slabs together: at each total, the prices within and outside each window are compared.
    function _areSlabsNowhereDearer(Version memory old, Version calldata replacement) private pure returns (bool) {
        uint256 before = 0;
        uint256 afterwards = 0;
        while (true) {
            Slab memory oldSlab = old.slabs[before];
            Slab calldata newSlab = replacement.slabs[afterwards];
            if (newSlab.priceWeiPerWh > oldSlab.priceWeiPerWh) return false;
            for (uint256 index = 0; index < old.windows.length; ++index) {
                if (
                    replacement.windows[index].pricesWeiPerWh[afterwards] > old.windows[index].pricesWeiPerWh[before]
                ) return false;
            }
            if (before == old.slabs.length - 1 && afterwards == replacement.slabs.length - 1) return true;
            // The last bounds are equal and above all others, so neither row is left behind its end.
            if (oldSlab.upToWh <= newSlab.upToWh) ++before;
            if (newSlab.upToWh <= oldSlab.upToWh) ++afterwards;
        }
        return true;
    }
}
