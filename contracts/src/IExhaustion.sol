// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title What Exhaustion tells of prepaid meters, to wallets and indexes
/// @notice Suppliers' money, terms and vouchers have their own events, in SupplierFunds, SupplyTerms and Vouchers.
interface IExhaustion {
    /// @notice The account of a meter.
    /// @param creditWei prepaid money left
    /// @param overdrawnWei charged beyond the credit (emergency credit), repaid first and whole
    /// @param debtWei charged in friendly hours beyond the credit, recovered at a share of what is paid in
    /// @param owedWei credited for energy given to the grid, for which the supplier had no money here yet
    /// @param lowCreditWei the owner's threshold
    /// @param periodWh energy taken in the billing period so far, in Wh
    /// @param periodEndDay local day with which the next period begins, counted from 1970-01-01
    struct AccountView {
        uint256 creditWei;
        uint256 overdrawnWei;
        uint256 debtWei;
        uint256 owedWei;
        uint256 lowCreditWei;
        uint256 periodWh;
        uint256 periodEndDay;
    }

    /// @notice A reading was charged: paidWei moved from the credit to the supplier; the rest of costWei, but for what
    ///         energy given to the grid has earned (ExportCredited), is overdrawn or debt (DebtIncreased).
    /// @param energyWh energy taken from the grid since the reading before, in Wh; its time is in ReadingAccepted
    /// @param costWei for energy and standing charges
    /// @param balanceWei credit after it, or overdrawn where negative
    event Charged(
        address indexed meter,
        address indexed supplier,
        uint64 energyWh,
        uint256 costWei,
        uint256 paidWei,
        int256 balanceWei
    );
    /// @notice Of the cost of a reading, this is for the local days begun since the last charged one.
    event StandingCharged(address indexed meter, uint256 standingWei);
    /// @notice Energy given to the grid was credited: creditWei, with what was still owed from before. It settled the cost
    ///         of its reading, then what was overdrawn; the rest, but for owedWei, the supplier's account paid.
    event ExportCredited(address indexed meter, uint64 energyWh, uint256 creditWei, uint256 owedWei);
    /// @notice What was owed for energy given to the grid was paid to the meter's credit.
    event OwedPaid(address indexed meter, uint256 paidWei, uint256 owedWei);
    /// @notice A reading that ends in friendly hours was charged beyond the credit; debtWei is all debt after it.
    event DebtIncreased(address indexed meter, uint256 addedWei, uint256 debtWei);
    /// @notice The credit has fallen below the owner's threshold.
    event LowCredit(address indexed meter, uint256 creditWei, uint256 lowCreditWei);
    /// @notice The credit is used up, and supply goes on until limitWei is overdrawn.
    event EmergencyCreditBegun(address indexed meter, uint256 overdrawnWei, uint256 limitWei);
    /// @notice Credit and emergency credit are used up: the supply is to be switched off, but for friendly hours.
    event Exhausted(address indexed meter, uint256 overdrawnWei);
    /// @notice There is credit, or emergency credit, again: the supply is to be switched on.
    event Restored(address indexed meter, uint256 creditWei);
    /// @notice A meter was paid for. Of amountWei, settledWei repaid what was overdrawn and recoveredWei a part of its
    ///         debt, both to the supplier; the rest is credit.
    event ToppedUp(
        address indexed meter,
        address indexed payer,
        uint256 amountWei,
        uint256 settledWei,
        uint256 recoveredWei,
        int256 balanceWei
    );
    /// @notice The owner gave credit of the own meter to another one (ToppedUp follows), after settling its debt.
    event CreditTransferred(address indexed from, address indexed to, uint256 amountWei, uint256 settledWei);
    /// @notice The owner took the credit of a meter that has left, after settling its debt.
    event CreditWithdrawn(address indexed meter, address indexed owner, uint256 amountWei, uint256 settledWei);
    /// @notice A meter has a successor, which has all that the meter had here.
    event CreditMoved(address indexed meter, address indexed successor, int256 balanceWei, uint256 debtWei);
    event LowCreditThresholdSet(address indexed meter, uint256 lowCreditWei);

    error NotMeterContract(address caller);
    error NotRegistry(address caller);
    error NotPrepaid(address meter);
    error NotOwner(address meter, address caller);
    error MeterRemovedAboveDebt(address meter, uint256 amountWei, uint256 debtWei);
    error MeterNotRemoved(address meter);
    error SameMeter(address meter);
    error CreditTooSmall(address meter, uint256 amountWei, uint256 availableWei);
    error OverdrawnTooLarge(address meter, uint256 overdrawnWei, uint256 maximumWei);
}
