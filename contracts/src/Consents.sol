// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";

/// @title Consents: a meter's key agrees to be a supplier's meter
/// @notice Invariant: no address becomes a meter here whose key has not signed for this supplier, registry and chain; so
///         none is mistyped, invented, or another supplier's to take. A key is installed once, so a consent is of use once.
/// @dev A part of Registry. EIP-712; the domain separator is computed when it is used, since a contract placed by a
///      genesis file runs no constructor. Meters of the genesis are its maker's word.
abstract contract Consents {
    /// @notice A signature by the meter's key, in the short form of ERC-2098.
    /// @param r first half of the signature
    /// @param vs second half, with the parity of the point in its highest bit
    struct Consent {
        bytes32 r;
        bytes32 vs;
    }

    /// @dev `recovered` is who has signed something for this supplier, zero for a malformed signature.
    error ConsentInvalid(address meter, address supplier, address recovered);

    bytes32 public constant CONSENT_TYPEHASH = keccak256("Consent(address meter,address supplier)");
    bytes32 private constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant NAME_HASH = keccak256("Wattchain Registry");
    bytes32 private constant VERSION_HASH = keccak256("1");

    /// @notice The EIP-712 domain separator on this chain: name "Wattchain Registry", version "1", chain id, this address.
    function domainSeparator() public view returns (bytes32) {
        return keccak256(abi.encode(DOMAIN_TYPEHASH, NAME_HASH, VERSION_HASH, block.chainid, address(this)));
    }

    /// @dev A signature that is malformed, or whose s is in the upper half, is nobody's.
    function _checkConsent(address meter, address supplier, Consent calldata consent) internal view {
        bytes32 structHash = keccak256(abi.encode(CONSENT_TYPEHASH, meter, supplier));
        bytes32 digest = MessageHashUtils.toTypedDataHash(domainSeparator(), structHash);
        (address recovered,,) = ECDSA.tryRecover(digest, consent.r, consent.vs);
        if (recovered != meter) revert ConsentInvalid(meter, supplier, recovered);
    }
}
