// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

/// @title Money that is due, until its holder takes it
/// @notice Invariant: an account falls only by what its holder withdraws.
/// @dev Nobody is paid by a call to somebody else's address, so nobody can hold up others by refusing money.
abstract contract Accounts is ReentrancyGuardTransient {
    event Withdrawn(address indexed account, address indexed to, uint256 amountWei);

    error ZeroAddress();
    error AmountZero();
    error AccountTooSmall(address account, uint256 amountWei, uint256 accountWei);
    error WithdrawalFailed(address to, uint256 amountWei);

    /// @notice What an address may withdraw, in wei.
    mapping(address account => uint256 amountWei) public accountOf;

    /// @notice Pays out of the caller's account.
    /// @param to receiver; a contract may refuse, then nothing happens
    /// @param amountWei not more than the account holds
    function withdraw(address payable to, uint256 amountWei) external nonReentrant {
        if (to == address(0)) revert ZeroAddress();
        if (amountWei == 0) revert AmountZero();
        uint256 accountWei = accountOf[msg.sender];
        if (amountWei > accountWei) revert AccountTooSmall(msg.sender, amountWei, accountWei);
        accountOf[msg.sender] = accountWei - amountWei;
        emit Withdrawn(msg.sender, to, amountWei);
        (bool paid,) = to.call{value: amountWei}("");
        if (!paid) revert WithdrawalFailed(to, amountWei);
    }

    function _credit(address account, uint256 amountWei) internal {
        if (amountWei != 0) accountOf[account] += amountWei;
    }
}
