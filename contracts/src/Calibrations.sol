// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";

import {IRegistry} from "./IRegistry.sol";

/// @title Calibrations: by what a meter multiplies what its sensors tell, who changed it, and when
/// @notice Invariant: for each meter sequence rises by exactly one and time never falls; a factor changes only by a
///         calibration that both the meter and the person who calibrated it have signed, from the factor that was in force
///         to one within bounds; and the events tell every change.
/// @dev Anyone may carry a calibration here: the signatures decide. Who may lay hands on a meter is not for this contract
///      to know; it sees to it that nobody does so unnamed. It holds no money and no readings: the meter multiplies.
///      The domain separator is computed at every call, since a contract placed by a genesis file runs no constructor.
contract Calibrations {
    /// @notice What a factor belongs to.
    enum Quantity {
        None,
        Current,
        Voltage,
        Power
    }

    /// @notice One change, as meter and person sign it.
    /// @param meter address of the meter's own key
    /// @param person who calibrated it
    /// @param sequence 1 for a meter's first calibration, rising by one
    /// @param time Unix time of the change, in s
    /// @param quantity a Quantity but None
    /// @param channel number of the clamp or phase, from 1
    /// @param oldPpm the factor up to now, in parts per million; 1,000,000 where none was set
    /// @param newPpm the factor from now on
    struct Calibration {
        address meter;
        address person;
        uint64 sequence;
        uint64 time;
        uint8 quantity;
        uint8 channel;
        uint32 oldPpm;
        uint32 newPpm;
    }

    /// @notice A signature in the short form of ERC-2098.
    struct Signature {
        bytes32 r;
        bytes32 vs;
    }

    /// @notice A factor in force.
    struct Factor {
        uint8 quantity;
        uint8 channel;
        uint32 ppm;
    }

    /// @dev Of a meter; `keys` names each factor that was ever changed once: quantity * 256 + channel.
    struct Book {
        uint64 sequence;
        uint64 time;
        uint16[] keys;
        mapping(uint16 key => uint32) ppm;
    }

    /// @notice A factor of a meter was changed.
    event CalibrationChanged(
        address indexed meter,
        address indexed person,
        uint64 sequence,
        uint64 time,
        uint8 quantity,
        uint8 channel,
        uint32 oldPpm,
        uint32 newPpm
    );

    error ZeroAddress();
    error MeterUnknown(address meter);
    error MeterNotActive(address meter);
    /// @dev A meter that names itself would tell nobody who did it.
    error PersonInvalid(address meter, address person);
    error SequenceInvalid(address meter, uint64 sequence, uint64 expected);
    error TimeInFuture(address meter, uint64 time, uint64 latest);
    error TimeFell(address meter, uint64 time, uint64 lastTime);
    error QuantityInvalid(uint8 quantity);
    error ChannelInvalid(uint8 channel, uint8 maximum);
    error FactorOutOfRange(uint32 ppm, uint32 minimum, uint32 maximum);
    error FactorUnchanged(uint32 ppm);
    /// @dev The calibration was made from another factor than the one in force.
    error OldFactorDiffers(address meter, uint32 oldPpm, uint32 ppmInForce);
    error SignatureInvalid(address expected, address signer);

    /// @notice A factor that changes nothing, in parts per million.
    uint32 public constant ONE_PPM = 1_000_000;
    /// @notice Least and greatest factor: a sensor that is off by more than ten times is the wrong sensor.
    uint32 public constant MIN_PPM = 100_000;
    uint32 public constant MAX_PPM = 10_000_000;
    /// @notice Clamps and phases of a meter: eight boards of eight.
    uint8 public constant MAX_CHANNEL = 64;
    /// @notice Seconds by which a meter's clock may run ahead of the block's time; as for readings.
    uint64 public constant MAX_AHEAD_S = 60;

    bytes32 public constant CALIBRATION_TYPEHASH = keccak256(
        "Calibration(address meter,address person,uint64 sequence,uint64 time,uint8 quantity,uint8 channel,uint32 oldPpm,uint32 newPpm)"
    );
    bytes32 private constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant NAME_HASH = keccak256("Wattchain Calibrations");
    bytes32 private constant VERSION_HASH = keccak256("1");

    /// @notice Says which meters are active.
    IRegistry public registry;
    mapping(address meter => Book) private _books;

    constructor(IRegistry registry_) {
        if (address(registry_) == address(0)) revert ZeroAddress();
        registry = registry_;
    }

    /// @notice Puts a change of a factor on record. By anyone.
    /// @param calibration the change
    /// @param byMeter the meter's signature of it
    /// @param byPerson the person's signature of it
    function record(Calibration calldata calibration, Signature calldata byMeter, Signature calldata byPerson) external {
        _check(calibration);
        bytes32 digest = MessageHashUtils.toTypedDataHash(domainSeparator(), hashCalibration(calibration));
        _checkSigner(digest, byMeter, calibration.meter);
        _checkSigner(digest, byPerson, calibration.person);

        Book storage book = _books[calibration.meter];
        uint16 key = _key(calibration.quantity, calibration.channel);
        if (book.ppm[key] == 0) book.keys.push(key);
        book.ppm[key] = calibration.newPpm;
        book.sequence = calibration.sequence;
        book.time = calibration.time;
        emit CalibrationChanged(
            calibration.meter,
            calibration.person,
            calibration.sequence,
            calibration.time,
            calibration.quantity,
            calibration.channel,
            calibration.oldPpm,
            calibration.newPpm
        );
    }

    /// @notice The last calibration of a meter; zeros where it has none.
    /// @return sequence its number
    /// @return time its Unix time, in s
    function standingOf(address meter) external view returns (uint64 sequence, uint64 time) {
        Book storage book = _books[meter];
        return (book.sequence, book.time);
    }

    /// @notice The factor in force of a channel, in parts per million; ONE_PPM where it was never calibrated.
    function factorOf(address meter, uint8 quantity, uint8 channel) external view returns (uint32 ppm) {
        return _ppmInForce(_books[meter], _key(quantity, channel));
    }

    /// @notice All factors of a meter that were ever changed, in the order in which they first were.
    function factorsOf(address meter) external view returns (Factor[] memory factors) {
        Book storage book = _books[meter];
        uint256 count = book.keys.length;
        factors = new Factor[](count);
        for (uint256 index = 0; index < count; ++index) {
            uint16 key = book.keys[index];
            factors[index] = Factor(uint8(key >> 8), uint8(key), book.ppm[key]);
        }
    }

    /// @notice hashStruct (EIP-712) of a calibration.
    function hashCalibration(Calibration calldata calibration) public pure returns (bytes32) {
        return keccak256(abi.encode(CALIBRATION_TYPEHASH, calibration));
    }

    /// @notice The EIP-712 domain separator on this chain: name "Wattchain Calibrations", version "1", chain id, this
    ///         address.
    function domainSeparator() public view returns (bytes32) {
        return keccak256(abi.encode(DOMAIN_TYPEHASH, NAME_HASH, VERSION_HASH, block.chainid, address(this)));
    }

    /// @dev Everything but the signatures.
    function _check(Calibration calldata calibration) private view {
        address meter = calibration.meter;
        (IRegistry.Status status,,,) = registry.registrationOf(meter);
        if (status == IRegistry.Status.Unknown) revert MeterUnknown(meter);
        if (status != IRegistry.Status.Active) revert MeterNotActive(meter);
        address person = calibration.person;
        if (person == meter || person == address(0)) revert PersonInvalid(meter, person);
        uint8 quantity = calibration.quantity;
        if (quantity == uint8(Quantity.None) || quantity > uint8(Quantity.Power)) revert QuantityInvalid(quantity);
        uint8 channel = calibration.channel;
        if (channel == 0 || channel > MAX_CHANNEL) revert ChannelInvalid(channel, MAX_CHANNEL);
        Book storage book = _books[meter];
        if (calibration.sequence != book.sequence + 1) {
            revert SequenceInvalid(meter, calibration.sequence, book.sequence + 1);
        }
        uint64 latest = uint64(block.timestamp) + MAX_AHEAD_S;
        if (calibration.time > latest) revert TimeInFuture(meter, calibration.time, latest);
        if (calibration.time < book.time) revert TimeFell(meter, calibration.time, book.time);
        uint32 newPpm = calibration.newPpm;
        if (newPpm < MIN_PPM || newPpm > MAX_PPM) revert FactorOutOfRange(newPpm, MIN_PPM, MAX_PPM);
        uint32 ppm = _ppmInForce(book, _key(quantity, channel));
        if (calibration.oldPpm != ppm) revert OldFactorDiffers(meter, calibration.oldPpm, ppm);
        if (newPpm == ppm) revert FactorUnchanged(newPpm);
    }

    /// @dev A signature that is malformed, or whose s is in the upper half, is nobody's.
    function _checkSigner(bytes32 digest, Signature calldata signature, address expected) private pure {
        (address signer,,) = ECDSA.tryRecover(digest, signature.r, signature.vs);
        if (signer != expected) revert SignatureInvalid(expected, signer);
    }

    function _ppmInForce(Book storage book, uint16 key) private view returns (uint32) {
        uint32 ppm = book.ppm[key];
        return ppm == 0 ? ONE_PPM : ppm;
    }

    function _key(uint8 quantity, uint8 channel) private pure returns (uint16) {
        return uint16(quantity) << 8 | channel;
    }
}
