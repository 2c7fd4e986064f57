// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Admission} from "./Admission.sol";
import {Consents} from "./Consents.sol";
import {IMeter} from "./IMeter.sol";
import {IMeterKeeper} from "./IMeterKeeper.sol";
import {IReadingSink} from "./IReadingSink.sol";
import {IRegistry} from "./IRegistry.sol";
import {ITariffs} from "./ITariffs.sol";

/// @title Registry: who takes part, and which meter is whose (thesis, 5.2 and 5.4.1)
/// @notice Invariant: an address has one role at most. Only the owner makes and unmakes regulators, and nothing else;
///         only regulators make and unmake suppliers, producers and consumers. A meter's owner, supplier and sink never
///         change, its tariff only after notice or by its owner's own consent, and a meter that was removed for a
///         successor never comes back: so no role can point a customer's credit at somebody else. What the Meter keeps of
///         a registration is what stands here.
/// @dev No money, and nothing here costs more than a bounded number of slots. No constructor logic that a genesis file
///      could not write: on another chain the owner calls `connect` once after deployment.
contract Registry is Admission, Consents {
    struct Record {
        address owner;
        Status status;
        uint48 installedAt;
        address supplier;
        uint32 tariff;
        uint48 removedAt;
        address sink;
        bytes32 pointOfSupply;
        address predecessor;
        address successor;
    }

    /// @dev The tariff that a meter is to get, and from when anybody may put it in force.
    struct NextTariff {
        uint32 tariff;
        uint48 from;
    }

    event OwnershipTransferStarted(address indexed owner, address indexed pendingOwner);
    event OwnershipTransferred(address indexed previousOwner, address indexed owner);
    /// @notice The contracts that the registry works with were named, once for all.
    event Connected(address meterContract, address tariffs);
    event RegulatorAdded(address indexed regulator, address indexed by);
    event RegulatorRemoved(address indexed regulator, address indexed by);
    event MemberAdded(address indexed account, Role indexed role, address indexed by);
    event MemberRemoved(address indexed account, Role indexed role, address indexed by);
    event SinkApproved(address indexed sink, address indexed by);
    event SinkRevoked(address indexed sink, address indexed by);
    /// @notice A meter was installed; energy is counted from the opening registers, in Wh.
    event MeterInstalled(
        address indexed meter,
        address indexed supplier,
        address indexed owner,
        address sink,
        uint32 tariff,
        bytes32 pointOfSupply,
        uint64 openingImportWh,
        uint64 openingExportWh
    );
    /// @notice Readings of this meter are no longer accepted. By its supplier or a regulator.
    event MeterRemoved(address indexed meter, address indexed supplier, address indexed by);
    /// @notice A removed meter is back; energy between the last reading and the opening registers is not counted.
    event MeterReinstated(
        address indexed meter, address indexed supplier, uint64 openingImportWh, uint64 openingExportWh
    );
    /// @notice A successor took a meter's place: another device, or the same with another key. Registers in Wh.
    event MeterSwapped(
        address indexed meter,
        address indexed successor,
        address indexed supplier,
        uint64 closingImportWh,
        uint64 closingExportWh,
        uint64 openingImportWh,
        uint64 openingExportWh
    );
    /// @notice A meter is to get this tariff, from a Unix time on or when its owner agrees before that.
    event TariffAnnounced(address indexed meter, address indexed supplier, uint32 tariff, uint64 from);
    /// @notice Readings of this meter of times from now on go by this tariff, whenever they arrive.
    event TariffAssigned(address indexed meter, address indexed supplier, uint32 tariff);

    error NotOwner(address caller);
    error NotPendingOwner(address caller);
    error NotSupplier(address caller);
    error NotRegulatorOrSupplier(address caller);
    error NotSupplierOf(address meter, address caller);
    error ZeroAddress();
    error AlreadyConnected();
    error ContractWithoutCode(address target);
    /// @dev Roles are mutually exclusive: this one must be taken away first.
    error RoleTaken(address account, Role role);
    error RoleMissing(address account, Role role);
    /// @dev Regulators are not a regulator's to make, and None is no role.
    error RoleNotAssignable(Role role);
    error SinkNotApproved(address sink);
    error MeterAlreadyInstalled(address meter);
    error MeterUnknown(address meter);
    error MeterInactive(address meter);
    error MeterNotRemoved(address meter);
    error MeterHasSuccessor(address meter, address successor);
    error TariffNotOfSupplier(uint32 tariff, address supplier);
    error TariffNotAnnounced(address meter, uint32 tariff);
    error TariffTooSoon(address meter, uint64 from);

    /// @notice Notice of a meter's other tariff, in s: what is measured can be charged before it holds.
    uint48 public constant TARIFF_NOTICE_S = 1 days;

    address public owner;
    address public pendingOwner;
    IMeterKeeper public meterContract;
    ITariffs public tariffs;
    /// @notice Whether suppliers may choose this sink for new meters.
    mapping(address sink => bool) public isApprovedSink;
    mapping(address meter => Record) private _records;
    mapping(address meter => NextTariff) private _nextTariffs;

    constructor(address firstOwner) {
        if (firstOwner == address(0)) revert ZeroAddress();
        owner = firstOwner;
        emit OwnershipTransferred(address(0), firstOwner);
    }

    modifier onlyOwner() {
        if (msg.sender != owner) revert NotOwner(msg.sender);
        _;
    }

    /// @notice Names the Meter and the Tariffs that belong to this registry. By the owner, once; a genesis has it done.
    function connect(IMeterKeeper meterContract_, ITariffs tariffs_) external onlyOwner {
        if (address(meterContract) != address(0)) revert AlreadyConnected();
        if (address(meterContract_).code.length == 0) revert ContractWithoutCode(address(meterContract_));
        if (address(tariffs_).code.length == 0) revert ContractWithoutCode(address(tariffs_));
        meterContract = meterContract_;
        tariffs = tariffs_;
        emit Connected(address(meterContract_), address(tariffs_));
    }

    /// @notice Offers the owner's place to another account, which must accept it. Zero withdraws an offer.
    function transferOwnership(address newOwner) external onlyOwner {
        pendingOwner = newOwner;
        emit OwnershipTransferStarted(msg.sender, newOwner);
    }

    function acceptOwnership() external {
        if (msg.sender != pendingOwner) revert NotPendingOwner(msg.sender);
        emit OwnershipTransferred(owner, msg.sender);
        owner = msg.sender;
        pendingOwner = address(0);
    }

    function addRegulator(address regulator) external onlyOwner {
        _giveRole(regulator, Role.Regulator);
        emit RegulatorAdded(regulator, msg.sender);
    }

    function removeRegulator(address regulator) external onlyOwner {
        _takeRole(regulator, Role.Regulator);
        emit RegulatorRemoved(regulator, msg.sender);
    }

    /// @notice Gives an address a role: Supplier, Producer and Consumer by a regulator, Relay by a supplier as well.
    function addMember(address account, Role role) external {
        _checkMayAssign(role);
        _giveRole(account, role);
        if (role == Role.Relay) relayAddedBy[account] = msg.sender;
        emit MemberAdded(account, role, msg.sender);
    }

    /// @notice Takes the role of a member away. By a regulator; a relay's also by the supplier who added it. A supplier
    ///         without its role can install no more meters; those it has go on, its customers stay admitted (`distrust` ends
    ///         that), and its money stays its own.
    function removeMember(address account) external {
        Role role = _members[account].role;
        if (role == Role.None) revert RoleMissing(account, role);
        bool isOwnRelay = role == Role.Relay && relayAddedBy[account] == msg.sender;
        if (!isOwnRelay || _members[msg.sender].role != Role.Supplier) {
            if (_members[msg.sender].role != Role.Regulator) revert NotRegulator(msg.sender);
            if (role == Role.Regulator) revert RoleNotAssignable(role);
        }
        _takeRole(account, role);
        if (role == Role.Relay) relayAddedBy[account] = address(0);
        emit MemberRemoved(account, role, msg.sender);
    }

    /// @notice Lets suppliers choose this contract for the readings of new meters.
    function approveSink(address sink) external onlyRegulator {
        if (sink.code.length == 0) revert ContractWithoutCode(sink);
        isApprovedSink[sink] = true;
        emit SinkApproved(sink, msg.sender);
    }

    /// @notice No new meter can choose this sink. Meters that have it keep it.
    function revokeSink(address sink) external onlyRegulator {
        if (!isApprovedSink[sink]) revert SinkNotApproved(sink);
        isApprovedSink[sink] = false;
        emit SinkRevoked(sink, msg.sender);
    }

    /// @notice Installs a meter of the calling supplier.
    /// @param meter address of the meter's own key, never installed before
    /// @param owner_ the customer
    /// @param sink approved contract that bills the readings
    /// @param tariff one of the supplier's tariffs, or 0 where the sink needs none
    /// @param pointOfSupply hash of the physical address
    /// @param openingImportWh import register at installation, in Wh
    /// @param openingExportWh export register at installation, in Wh
    /// @param consent of the meter's key to be the caller's
    function installMeter(
        address meter,
        address owner_,
        address sink,
        uint32 tariff,
        bytes32 pointOfSupply,
        uint64 openingImportWh,
        uint64 openingExportWh,
        Consent calldata consent
    ) external {
        if (_members[msg.sender].role != Role.Supplier) revert NotSupplier(msg.sender);
        if (meter == address(0) || owner_ == address(0)) revert ZeroAddress();
        if (!isApprovedSink[sink]) revert SinkNotApproved(sink);
        _checkTariff(tariff, msg.sender);
        Record storage record = _records[meter];
        if (record.status != Status.Unknown) revert MeterAlreadyInstalled(meter);
        _checkConsent(meter, msg.sender, consent);
        record.owner = owner_;
        record.status = Status.Active;
        record.installedAt = uint48(block.timestamp);
        record.supplier = msg.sender;
        record.tariff = tariff;
        record.sink = sink;
        record.pointOfSupply = pointOfSupply;
        _members[meter].isActiveMeter = true;
        _members[msg.sender].suppliedMeter = true;
        _vouch(owner_, msg.sender);
        emit MeterInstalled(
            meter, msg.sender, owner_, sink, tariff, pointOfSupply, openingImportWh, openingExportWh
        );
        meterContract.open(meter, msg.sender, sink, tariff, openingImportWh, openingExportWh);
    }

    /// @notice Ends the acceptance of a meter's readings. By its supplier or, lest a customer be held, a regulator.
    function removeMeter(address meter) external {
        Record storage record = _activeRecord(meter);
        if (msg.sender != record.supplier && _members[msg.sender].role != Role.Regulator) {
            revert NotSupplierOf(meter, msg.sender);
        }
        _retire(meter, record);
        emit MeterRemoved(meter, record.supplier, msg.sender);
        meterContract.close(meter);
    }

    /// @notice Brings a removed meter back to the same owner, supplier, sink and tariff. Sequence and hash go on where
    ///         they were.
    function reinstateMeter(address meter, uint64 openingImportWh, uint64 openingExportWh) external {
        Record storage record = _records[meter];
        if (record.status != Status.Removed) revert MeterNotRemoved(meter);
        if (msg.sender != record.supplier) revert NotSupplierOf(meter, msg.sender);
        if (record.successor != address(0)) revert MeterHasSuccessor(meter, record.successor);
        record.status = Status.Active;
        record.removedAt = 0;
        _members[meter].isActiveMeter = true;
        emit MeterReinstated(meter, msg.sender, openingImportWh, openingExportWh);
        meterContract.open(meter, msg.sender, record.sink, record.tariff, openingImportWh, openingExportWh);
    }

    /// @notice Puts another device, or the same with another key, in a meter's place: owner, supplier, sink, tariff and
    ///         point of supply are the same, credit and bills go on. By the meter's supplier, who reads both registers.
    /// @dev The energy from the last reading to the closing registers is charged like a reading's. As at installation the
    ///      supplier is trusted with what it reads; the event shows it, beside the last reading that the meter signed.
    /// @param successor address of the new key, never installed before
    /// @param closingImportWh import register of the old meter, not below its last reading, in Wh
    /// @param closingExportWh export register of the old meter, not below its last reading, in Wh
    /// @param openingImportWh import register of the successor, in Wh; that of the old one where only the key changes
    /// @param openingExportWh export register of the successor, in Wh
    /// @param consent of the successor's key to be the caller's
    function swapMeter(
        address meter,
        address successor,
        uint64 closingImportWh,
        uint64 closingExportWh,
        uint64 openingImportWh,
        uint64 openingExportWh,
        Consent calldata consent
    ) external {
        Record storage old = _activeRecord(meter);
        if (msg.sender != old.supplier) revert NotSupplierOf(meter, msg.sender);
        if (successor == address(0)) revert ZeroAddress();
        if (_records[successor].status != Status.Unknown) revert MeterAlreadyInstalled(successor);
        _checkConsent(successor, msg.sender, consent);
        _succeed(meter, old, successor);
        emit MeterSwapped(
            meter, successor, msg.sender, closingImportWh, closingExportWh, openingImportWh, openingExportWh
        );
        meterContract.swap(meter, successor, closingImportWh, closingExportWh, openingImportWh, openingExportWh);
        IReadingSink(old.sink).onSwap(meter, successor);
    }

    /// @notice Announces another tariff of a meter: it can be put in force after TARIFF_NOTICE_S, or when the meter's
    ///         owner agrees. By the meter's supplier, whose tariff it must be. Replaces what was announced before.
    function setTariff(address meter, uint32 tariff) external {
        Record storage record = _activeRecord(meter);
        if (msg.sender != record.supplier) revert NotSupplierOf(meter, msg.sender);
        _checkTariff(tariff, msg.sender);
        uint48 from = uint48(block.timestamp) + TARIFF_NOTICE_S;
        _nextTariffs[meter] = NextTariff(tariff, from);
        emit TariffAnnounced(meter, msg.sender, tariff, from);
    }

    /// @notice Puts an announced tariff in force for readings of times from now on; late ones from before go by the tariff
    ///         before. By the meter's owner at any time, by anybody when the notice is over.
    /// @param tariff the announced one: so an owner who agrees to it agrees to no other that took its place meanwhile
    function applyTariff(address meter, uint32 tariff) external {
        Record storage record = _activeRecord(meter);
        NextTariff memory next = _nextTariffs[meter];
        if (next.from == 0 || next.tariff != tariff) revert TariffNotAnnounced(meter, tariff);
        if (block.timestamp < next.from && msg.sender != record.owner) revert TariffTooSoon(meter, next.from);
        delete _nextTariffs[meter];
        record.tariff = tariff;
        emit TariffAssigned(meter, record.supplier, tariff);
        meterContract.assignTariff(meter, tariff);
    }

    /// @inheritdoc IRegistry
    function roleOf(address account) external view returns (Role role) {
        return _members[account].role;
    }

    /// @inheritdoc IRegistry
    function meterOf(address meter) external view returns (MeterRecord memory record) {
        Record storage stored = _records[meter];
        return MeterRecord({
            owner: stored.owner,
            supplier: stored.supplier,
            status: stored.status,
            sink: stored.sink,
            tariff: stored.tariff,
            pointOfSupply: stored.pointOfSupply,
            installedAt: stored.installedAt,
            removedAt: stored.removedAt,
            predecessor: stored.predecessor,
            successor: stored.successor
        });
    }

    /// @inheritdoc IRegistry
    function registrationOf(address meter)
        external
        view
        returns (Status status, address supplier, address owner_, address sink)
    {
        Record storage record = _records[meter];
        return (record.status, record.supplier, record.owner, record.sink);
    }

    /// @notice The tariff that was announced for a meter, and the Unix time of the end of its notice; zero for none.
    function nextTariffOf(address meter) external view returns (uint32 tariff, uint64 from) {
        NextTariff memory next = _nextTariffs[meter];
        return (next.tariff, next.from);
    }

    function _ownsRegistry(address account) internal view override returns (bool) {
        return account == owner;
    }

    function _supplierOf(address meter) internal view override returns (address) {
        return _records[meter].supplier;
    }

    function _giveRole(address account, Role role) private {
        if (account == address(0)) revert ZeroAddress();
        Member storage member = _members[account];
        if (member.role != Role.None) revert RoleTaken(account, member.role);
        if (member.isDistrusted) revert SupplierIsDistrusted(account);
        member.role = role;
    }

    function _takeRole(address account, Role role) private {
        Member storage member = _members[account];
        if (member.role != role) revert RoleMissing(account, role);
        member.role = Role.None;
    }

    function _retire(address meter, Record storage record) private {
        record.status = Status.Removed;
        record.removedAt = uint48(block.timestamp);
        _members[meter].isActiveMeter = false;
        delete _nextTariffs[meter];
    }

    function _succeed(address meter, Record storage old, address successor) private {
        Record storage record = _records[successor];
        record.owner = old.owner;
        record.status = Status.Active;
        record.installedAt = uint48(block.timestamp);
        record.supplier = old.supplier;
        record.tariff = old.tariff;
        record.sink = old.sink;
        record.pointOfSupply = old.pointOfSupply;
        record.predecessor = meter;
        old.successor = successor;
        NextTariff memory next = _nextTariffs[meter];
        if (next.from != 0) _nextTariffs[successor] = next;
        _retire(meter, old);
        _members[successor].isActiveMeter = true;
    }

    function _activeRecord(address meter) private view returns (Record storage record) {
        record = _records[meter];
        if (record.status == Status.Unknown) revert MeterUnknown(meter);
        if (record.status == Status.Removed) revert MeterInactive(meter);
    }

    function _checkMayAssign(Role role) private view {
        if (role == Role.None || role == Role.Regulator) revert RoleNotAssignable(role);
        Role own = _members[msg.sender].role;
        if (role == Role.Relay) {
            if (own != Role.Regulator && own != Role.Supplier) revert NotRegulatorOrSupplier(msg.sender);
        } else if (own != Role.Regulator) {
            revert NotRegulator(msg.sender);
        }
    }

    function _checkTariff(uint32 tariff, address supplier) private view {
        if (tariff != 0 && tariffs.supplierOf(tariff) != supplier) revert TariffNotOfSupplier(tariff, supplier);
    }
}
