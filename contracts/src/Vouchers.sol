// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";

/// @title Vouchers: credit that a supplier signs off-line, redeemed once (long vouchers)
/// @notice Invariant: a serial number of a supplier is redeemed at most once, and never after it was revoked.
/// @dev A part of Exhaustion. EIP-712 typed data with the chain and the contract in its domain: a voucher is worth nothing
///      on another chain or in another contract, and it names its meter; or, where it is for whoever bears it, a key made
///      for it alone, whose private half is printed with the voucher and signs for which meter it is redeemed. So a
///      stranger who sees the transaction cannot redeem it for another meter.
abstract contract Vouchers {
    /// @notice What a supplier signs.
    /// @param supplier who signs, and pays
    /// @param meter the meter it is for; zero for the bearer's choice among the supplier's meters
    /// @param holder for a bearer's voucher the address of the voucher's own key; else zero
    /// @param amountWei credit, in wei
    /// @param serial number that the supplier gives once
    /// @param expiry last Unix time at which it is redeemed, in s
    struct Voucher {
        address supplier;
        address meter;
        address holder;
        uint128 amountWei;
        uint64 serial;
        uint64 expiry;
    }

    /// @notice A signature in the short form of ERC-2098, which has only one form for a signature.
    struct Signature {
        bytes32 r;
        bytes32 vs;
    }

    enum VoucherStatus {
        Open,
        Redeemed,
        Revoked
    }

    event VoucherRedeemed(
        address indexed supplier, address indexed meter, uint64 indexed serial, uint256 amountWei, address by
    );
    /// @notice This serial number will not be redeemed.
    event VoucherRevoked(address indexed supplier, uint64 indexed serial);

    error VoucherExpired(address supplier, uint64 serial, uint64 expiry);
    error VoucherNotOpen(address supplier, uint64 serial, VoucherStatus status);
    error VoucherForAnotherMeter(address meter, address voucherMeter);
    error VoucherOfAnotherSupplier(address meter, address supplier, address voucherSupplier);
    /// @dev It must name either a meter or a holder.
    error VoucherIncomplete(address meter, address holder);
    error VoucherSignatureInvalid(address signer);
    error SerialCountInvalid(uint256 count, uint256 maximum);

    /// @notice Serial numbers that one call revokes.
    uint256 public constant MAX_REVOKED = 64;
    bytes32 public constant VOUCHER_TYPEHASH = keccak256(
        "Voucher(address supplier,address meter,address holder,uint128 amountWei,uint64 serial,uint64 expiry)"
    );
    /// @notice What the key of a bearer's voucher signs: the voucher (its hashStruct) and the meter.
    bytes32 public constant REDEMPTION_TYPEHASH = keccak256("Redemption(bytes32 voucher,address meter)");
    bytes32 private constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant NAME_HASH = keccak256("Wattchain Exhaustion");
    bytes32 private constant VERSION_HASH = keccak256("1");
    uint256 private constant SERIALS_A_SLOT = 128;

    /// @dev Two bits for each serial number.
    mapping(address supplier => mapping(uint256 serial128 => uint256 statuses)) private _vouchers;

    /// @notice Revokes vouchers of the caller that are open; the redeemed ones stay as they are, without an event.
    function revokeVouchers(uint64[] calldata serials) external {
        uint256 count = serials.length;
        if (count == 0 || count > MAX_REVOKED) revert SerialCountInvalid(count, MAX_REVOKED);
        for (uint256 index = 0; index < count; ++index) {
            if (voucherStatus(msg.sender, serials[index]) != VoucherStatus.Open) continue;
            _setStatus(msg.sender, serials[index], VoucherStatus.Revoked);
            emit VoucherRevoked(msg.sender, serials[index]);
        }
    }

    /// @notice Whether a serial number of a supplier can still be redeemed.
    function voucherStatus(address supplier, uint64 serial) public view returns (VoucherStatus status) {
        uint256 statuses = _vouchers[supplier][serial / SERIALS_A_SLOT];
        return VoucherStatus(statuses >> 2 * (serial % SERIALS_A_SLOT) & 3);
    }

    /// @notice The EIP-712 domain separator on this chain: name "Wattchain Exhaustion", version "1", chain, this address.
    function domainSeparator() public view returns (bytes32) {
        return keccak256(abi.encode(DOMAIN_TYPEHASH, NAME_HASH, VERSION_HASH, block.chainid, address(this)));
    }

    /// @notice hashStruct (EIP-712) of a voucher.
    function hashVoucher(Voucher calldata voucher) public pure returns (bytes32) {
        return keccak256(
            abi.encode(
                VOUCHER_TYPEHASH,
                voucher.supplier,
                voucher.meter,
                voucher.holder,
                voucher.amountWei,
                voucher.serial,
                voucher.expiry
            )
        );
    }

    /// @dev Reverts unless the voucher is signed, in time and open; from then on it is redeemed.
    /// @param meter for which a bearer's voucher is redeemed
    function _useVoucher(
        Voucher calldata voucher,
        Signature calldata signature,
        address meter,
        Signature calldata holderSignature
    ) internal {
        if ((voucher.meter == address(0)) == (voucher.holder == address(0))) {
            revert VoucherIncomplete(voucher.meter, voucher.holder);
        }
        if (block.timestamp > voucher.expiry) {
            revert VoucherExpired(voucher.supplier, voucher.serial, voucher.expiry);
        }
        VoucherStatus status = voucherStatus(voucher.supplier, voucher.serial);
        if (status != VoucherStatus.Open) revert VoucherNotOpen(voucher.supplier, voucher.serial, status);
        _setStatus(voucher.supplier, voucher.serial, VoucherStatus.Redeemed);
        bytes32 hash = hashVoucher(voucher);
        _checkSignature(voucher.supplier, hash, signature);
        if (voucher.holder != address(0)) {
            _checkSignature(voucher.holder, keccak256(abi.encode(REDEMPTION_TYPEHASH, hash, meter)), holderSignature);
        }
    }

    function _checkSignature(address signer, bytes32 structHash, Signature calldata signature) private view {
        bytes32 hash = MessageHashUtils.toTypedDataHash(domainSeparator(), structHash);
        (address recovered,,) = ECDSA.tryRecover(hash, signature.r, signature.vs);
        if (recovered != signer || signer == address(0)) revert VoucherSignatureInvalid(signer);
    }

    function _setStatus(address supplier, uint64 serial, VoucherStatus status) private {
        _vouchers[supplier][serial / SERIALS_A_SLOT] |= uint256(status) << 2 * (serial % SERIALS_A_SLOT);
    }
}
