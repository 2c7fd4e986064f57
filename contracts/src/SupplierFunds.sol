// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

import {ITariffs} from "./ITariffs.sol";
import {IVersionListener} from "./IVersionListener.sol";
import {TariffMath} from "./TariffMath.sol";

/// @title SupplierFunds: the suppliers' money in Exhaustion
/// @notice Invariant: a supplier's account is what was paid to it here and not yet paid out, to the wei; nobody but the
///         supplier takes money out of it, to an address of its choice, and it pays for its own vouchers and for the
///         energy that its meters give to the grid.
/// @dev A part of Exhaustion. The account is spread over tills: what readings earn goes to the till of their tariff, which
///      shares its slot with the numbers of the tariff's versions, so that a reading touches one slot for both.
abstract contract SupplierFunds is IVersionListener, ReentrancyGuardTransient {
    /// @dev One slot. A number names the account that keeps a version (TariffMath.createdAddress); 0 for none. `next` is
    ///      the newest version where it was announced ahead; it stays here also after it has begun.
    struct Till {
        uint112 heldWei;
        uint32 current;
        uint32 next;
        uint40 currentFrom;
        uint40 nextFrom;
    }

    /// @notice Anyone paid into a supplier's account, so that it can pay for vouchers and for energy given to the grid.
    event Deposited(address indexed supplier, address indexed payer, uint256 amountWei);
    event Withdrawn(address indexed supplier, address indexed to, uint256 amountWei);

    error NotTariffs(address caller);
    error AmountZero();
    error AccountTooSmall(address supplier, uint256 amountWei, uint256 accountWei);
    error HeldTooLarge(uint256 heldWei, uint256 maximumWei);
    error ZeroAddress();
    error WithdrawalFailed(address to, uint256 amountWei);

    /// @notice Most money in this contract, in wei: 10^15 WATT. No sum of money here is larger, so none leaves its type.
    uint256 public constant MAX_HELD_WEI = 10 ** 33;

    /// @notice Says which versions tariffs have, and whose they are.
    ITariffs public tariffs;
    mapping(uint32 tariff => Till) internal _tills;
    /// @dev What a supplier has beside its tills.
    mapping(address supplier => uint256 amountWei) internal _purses;

    /// @notice Pays into a supplier's account. Anyone may.
    function deposit(address supplier) external payable {
        if (supplier == address(0)) revert ZeroAddress();
        _checkPaidIn();
        _purses[supplier] += msg.value;
        emit Deposited(supplier, msg.sender, msg.value);
    }

    /// @notice Pays out of the caller's account as a supplier.
    /// @param to receiver; a contract may refuse, then nothing happens
    /// @param amountWei not more than the account holds
    function withdraw(address payable to, uint256 amountWei) external nonReentrant {
        if (to == address(0)) revert ZeroAddress();
        if (amountWei == 0) revert AmountZero();
        _take(msg.sender, amountWei);
        emit Withdrawn(msg.sender, to, amountWei);
        _pay(to, amountWei);
    }

    /// @inheritdoc IVersionListener
    function onVersion(uint32 tariff, uint32 number, uint40 from) external {
        if (msg.sender != address(tariffs)) revert NotTariffs(msg.sender);
        Till storage till = _tills[tariff];
        if (till.next != 0 && till.nextFrom <= block.timestamp) {
            till.current = till.next;
            till.currentFrom = till.nextFrom;
        }
        if (from <= block.timestamp) {
            till.current = number;
            till.currentFrom = from;
            till.next = 0;
            till.nextFrom = 0;
        } else {
            till.next = number;
            till.nextFrom = from;
        }
    }

    /// @notice What a supplier may withdraw, in wei.
    function supplierAccountOf(address supplier) external view returns (uint256 accountWei) {
        return _fundsOf(supplier);
    }

    /// @notice What readings of a tariff have earned and was not moved on yet: a part of its supplier's account, in wei.
    function tillOf(uint32 tariff) external view returns (uint256 heldWei) {
        return _tills[tariff].heldWei;
    }

    /// @dev Where the version is kept by which a reading of this time is charged; zero where there is none.
    /// @param till the slot of the tariff's till, as the compiler packs it: the first member in the lowest bits
    function _versionFor(uint256 till, uint32 tariff, uint256 time) internal view returns (address data) {
        uint256 number = uint32(till >> 144);
        if (number == 0 || time < till >> 216) {
            if (time < uint40(till >> 176)) return tariffs.versionAt(tariff, uint64(time));
            number = uint32(till >> 112);
            if (number == 0) return address(0);
        }
        return TariffMath.createdAddress(address(tariffs), number);
    }

    /// @dev Takes money out of a supplier's account, of the purse first; reverts where there is too little.
    ///      At most 64 tills (Tariffs.MAX_TARIFFS).
    function _take(address supplier, uint256 amountWei) internal {
        uint256 purse = _purses[supplier];
        if (purse < amountWei) {
            uint256[] memory own = tariffs.tariffsOf(supplier);
            for (uint256 index = 0; index < own.length && purse < amountWei; ++index) {
                Till storage till = _tills[uint32(own[index])];
                purse += till.heldWei;
                till.heldWei = 0;
            }
            if (purse < amountWei) revert AccountTooSmall(supplier, amountWei, purse);
        }
        _purses[supplier] = purse - amountWei;
    }

    function _fundsOf(address supplier) internal view returns (uint256 fundsWei) {
        fundsWei = _purses[supplier];
        uint256[] memory own = tariffs.tariffsOf(supplier);
        for (uint256 index = 0; index < own.length; ++index) {
            fundsWei += _tills[uint32(own[index])].heldWei;
        }
    }

    /// @dev What came with this call is money, and not too much of it.
    function _checkPaidIn() internal view {
        if (msg.value == 0) revert AmountZero();
        if (address(this).balance > MAX_HELD_WEI) revert HeldTooLarge(address(this).balance, MAX_HELD_WEI);
    }

    function _pay(address payable to, uint256 amountWei) internal {
        (bool paid,) = to.call{value: amountWei}("");
        if (!paid) revert WithdrawalFailed(to, amountWei);
    }
}
