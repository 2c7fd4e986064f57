// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IMeter} from "./IMeter.sol";

/// @title Who may register meters, and which meters are registered
/// @notice The operator names suppliers and approves sinks; a supplier registers its own meters. A contract of its own
///         may take over these roles later: the rest of Meter asks only `_registrations` and the three hooks below.
/// @dev Invariant: a meter's supplier, owner and sink never change once set, so neither operator nor supplier can point
///      a meter that holds a customer's credit at somebody else. A meter that leaves for another household gets a new key.
///      No constructor logic beyond the operator: the contract also works when its storage is placed by a genesis file.
abstract contract MeterRegistration is IMeter {
    /// @dev The first slot is all that a reading needs: sinks are few, so a meter names its sink by number.
    struct Registration {
        address supplier;
        Status status;
        uint16 sinkNumber;
        address owner;
    }

    struct Sink {
        uint16 number;
        bool approved;
    }

    event OperatorTransferStarted(address indexed operator, address indexed pendingOperator);
    event OperatorTransferred(address indexed previousOperator, address indexed operator);
    event SupplierAdded(address indexed supplier);
    event SupplierRemoved(address indexed supplier);
    event SinkApproved(address indexed sink);
    event SinkRevoked(address indexed sink);
    /// @notice A meter was registered; energy is counted from the opening registers, in Wh.
    event MeterRegistered(
        address indexed meter,
        address indexed supplier,
        address indexed owner,
        address sink,
        uint64 openingImportWh,
        uint64 openingExportWh
    );
    event MeterRemoved(address indexed meter, address indexed supplier);
    /// @notice A removed meter is back; energy between the last reading and the opening registers is not counted.
    event MeterReinstated(
        address indexed meter, address indexed supplier, uint64 openingImportWh, uint64 openingExportWh
    );

    error NotOperator(address caller);
    error NotPendingOperator(address caller);
    error NotSupplier(address caller);
    error NotSupplierOf(address meter, address caller);
    error SupplierAlreadyAdded(address supplier);
    error SupplierUnknown(address supplier);
    error SinkNotApproved(address sink);
    error SinkWithoutCode(address sink);
    error MeterAlreadyRegistered(address meter);
    error MeterNotRemoved(address meter);
    error ZeroAddress();

    address public operator;
    address public pendingOperator;
    mapping(address supplier => bool) public isSupplier;
    /// @notice Number of sinks ever approved; they are numbered from 1.
    uint16 public sinkCount;
    mapping(uint16 number => address) public sinkOf;
    mapping(address sink => Sink) internal _sinks;
    mapping(address meter => Registration) internal _registrations;

    constructor(address firstOperator) {
        if (firstOperator == address(0)) revert ZeroAddress();
        operator = firstOperator;
        emit OperatorTransferred(address(0), firstOperator);
    }

    modifier onlyOperator() {
        if (msg.sender != operator) revert NotOperator(msg.sender);
        _;
    }

    /// @notice Offers the operator's role to another account, which must accept it. Zero withdraws an offer.
    function transferOperator(address newOperator) external onlyOperator {
        pendingOperator = newOperator;
        emit OperatorTransferStarted(msg.sender, newOperator);
    }

    function acceptOperator() external {
        if (msg.sender != pendingOperator) revert NotPendingOperator(msg.sender);
        emit OperatorTransferred(operator, msg.sender);
        operator = msg.sender;
        pendingOperator = address(0);
    }

    function addSupplier(address supplier) external onlyOperator {
        if (supplier == address(0)) revert ZeroAddress();
        if (isSupplier[supplier]) revert SupplierAlreadyAdded(supplier);
        isSupplier[supplier] = true;
        emit SupplierAdded(supplier);
    }

    /// @notice The supplier can register no more meters. Those it has go on, and its money stays its own.
    function removeSupplier(address supplier) external onlyOperator {
        if (!isSupplier[supplier]) revert SupplierUnknown(supplier);
        isSupplier[supplier] = false;
        emit SupplierRemoved(supplier);
    }

    /// @notice Lets suppliers choose this sink for new meters.
    function approveSink(address sink) external onlyOperator {
        if (sink.code.length == 0) revert SinkWithoutCode(sink);
        Sink storage entry = _sinks[sink];
        if (entry.number == 0) {
            entry.number = ++sinkCount;
            sinkOf[entry.number] = sink;
        }
        entry.approved = true;
        emit SinkApproved(sink);
    }

    /// @notice No new meter can choose this sink. Meters that have it keep it.
    function revokeSink(address sink) external onlyOperator {
        if (!_sinks[sink].approved) revert SinkNotApproved(sink);
        _sinks[sink].approved = false;
        emit SinkRevoked(sink);
    }

    /// @notice Registers a meter of the calling supplier.
    /// @param meter address of the meter's own key, never registered before
    /// @param owner the customer
    /// @param sink approved contract that bills the readings
    /// @param openingImportWh import register at installation, in Wh
    /// @param openingExportWh export register at installation, in Wh
    function registerMeter(
        address meter,
        address owner,
        address sink,
        uint64 openingImportWh,
        uint64 openingExportWh
    ) external {
        if (!isSupplier[msg.sender]) revert NotSupplier(msg.sender);
        if (meter == address(0) || owner == address(0)) revert ZeroAddress();
        if (!_sinks[sink].approved) revert SinkNotApproved(sink);
        Registration storage registration = _registrations[meter];
        if (registration.status != Status.Unknown) revert MeterAlreadyRegistered(meter);
        registration.supplier = msg.sender;
        registration.status = Status.Active;
        registration.sinkNumber = _sinks[sink].number;
        registration.owner = owner;
        _open(meter, openingImportWh, openingExportWh);
        emit MeterRegistered(meter, msg.sender, owner, sink, openingImportWh, openingExportWh);
    }

    /// @notice Readings of this meter are no longer accepted. By its supplier or the operator.
    function removeMeter(address meter) external {
        Registration storage registration = _registrations[meter];
        if (registration.status == Status.Unknown) revert MeterUnknown(meter);
        if (registration.status == Status.Removed) revert MeterInactive(meter);
        if (msg.sender != registration.supplier && msg.sender != operator) revert NotSupplierOf(meter, msg.sender);
        registration.status = Status.Removed;
        _close(meter);
        emit MeterRemoved(meter, registration.supplier);
    }

    /// @notice Brings a removed meter back to the same owner, supplier and sink. Sequence and hash go on where they were.
    function reinstateMeter(address meter, uint64 openingImportWh, uint64 openingExportWh) external {
        Registration storage registration = _registrations[meter];
        if (registration.status != Status.Removed) revert MeterNotRemoved(meter);
        if (msg.sender != registration.supplier) revert NotSupplierOf(meter, msg.sender);
        registration.status = Status.Active;
        _open(meter, openingImportWh, openingExportWh);
        emit MeterReinstated(meter, msg.sender, openingImportWh, openingExportWh);
    }

    /// @notice Whether suppliers may choose this sink for new meters.
    function isApprovedSink(address sink) external view returns (bool) {
        return _sinks[sink].approved;
    }

    /// @inheritdoc IMeter
    function registrationOf(address meter)
        external
        view
        returns (Status status, address supplier, address owner, address sink)
    {
        Registration storage registration = _registrations[meter];
        return (registration.status, registration.supplier, registration.owner, sinkOf[registration.sinkNumber]);
    }

    /// @dev Sets the registers from which energy is counted; reverts where one is below the last reading or too large.
    function _open(address meter, uint64 openingImportWh, uint64 openingExportWh) internal virtual;

    /// @dev Takes the meter out of the totals of the active ones.
    function _close(address meter) internal virtual;
}
