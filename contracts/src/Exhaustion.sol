// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

import {IMeter} from "./IMeter.sol";
import {IReadingSink} from "./IReadingSink.sol";
import {IRegistry} from "./IRegistry.sol";

/// @title Exhaustion: prepaid credit, used up reading by reading (Wattcoin paper, figure 4)
/// @notice Invariant: the contract's balance is the sum of all meters' credits and all suppliers' accounts, to the wei
///         (money forced on the contract past its functions, such as a block reward, can only add to it). Each Wh
///         that the Meter reports is charged once, at the rate that held at the reading's time; what the credit does
///         not cover is debt, and the next top-up settles it first. A meter has credit or debt, never both.
/// @dev There is no administrator: a supplier sets its own rate and takes its own account, the owner of a meter sets the
///      own threshold, and money leaves a meter's credit only by a reading that its key has signed.
contract Exhaustion is IReadingSink, ReentrancyGuardTransient {
    /// @dev One slot. `balanceWei` below zero is debt. Energy stays within uint56 because registers do, and never fall.
    struct Account {
        int128 balanceWei;
        uint56 energyWh;
        uint72 lowCreditWei;
    }

    /// @dev One slot: money, and the newest version of the rate (which may still lie ahead).
    struct Supplier {
        uint128 accountWei;
        uint64 rateWeiPerWh;
        uint48 rateFrom;
        bool hasRate;
    }

    struct RateVersion {
        uint64 rateWeiPerWh;
        uint48 from;
    }

    /// @notice A reading was charged: paidWei of costWei moved to the supplier's account, the rest is debt.
    /// @param energyWh energy taken from the grid since the reading before, in Wh
    /// @param time Unix time of the reading, in s
    /// @param rateWeiPerWh rate that held at that time
    /// @param balanceWei credit after it, or debt where negative
    event Charged(
        address indexed meter,
        address indexed supplier,
        uint64 energyWh,
        uint64 time,
        uint64 rateWeiPerWh,
        uint256 costWei,
        uint256 paidWei,
        int256 balanceWei
    );
    /// @notice The credit has fallen below the owner's threshold.
    event LowCredit(address indexed meter, uint256 creditWei, uint256 lowCreditWei);
    /// @notice The credit is used up: the supply is to be switched off.
    event Exhausted(address indexed meter, uint256 debtWei);
    /// @notice There is credit again: the supply is to be switched on.
    event Restored(address indexed meter, uint256 creditWei);
    /// @notice Anyone paid for a meter: settledWei of amountWei went to the supplier for debt, the rest is credit.
    event ToppedUp(
        address indexed meter, address indexed payer, uint256 amountWei, uint256 settledWei, int256 balanceWei
    );
    /// @notice A meter has a successor, which has its balance from now on.
    event CreditMoved(address indexed meter, address indexed successor, int256 balanceWei);
    event Withdrawn(address indexed supplier, address indexed to, uint256 amountWei);
    /// @notice Readings of this Unix time or later are charged at this rate. Replaces an announced rate not yet in force.
    event RateSet(address indexed supplier, uint64 rateWeiPerWh, uint64 from);
    event LowCreditThresholdSet(address indexed meter, uint256 lowCreditWei);

    error NotMeterContract(address caller);
    error NotRegistry(address caller);
    error NotPrepaid(address meter);
    error NotOwner(address meter, address caller);
    error MeterRemovedAboveDebt(address meter, uint256 amountWei, uint256 debtWei);
    error RateNotSet(address supplier);
    error RateTooSoon(uint64 from, uint64 earliest);
    error AmountZero();
    error CreditTooLarge(uint256 amountWei, uint256 maximumWei);
    error AccountTooSmall(address supplier, uint256 amountWei, uint256 accountWei);
    error ZeroAddress();
    error WithdrawalFailed(address to, uint256 amountWei);

    /// @notice Greatest credit of a meter, in wei: 10^18 WATT, so that no sum of money here leaves its type.
    uint256 public constant MAX_CREDIT_WEI = 10 ** 36;
    /// @notice A rate rises a day after its announcement at the earliest, so that customers can react.
    uint64 public constant RATE_NOTICE_S = 1 days;

    /// @notice The contract whose readings are charged.
    IMeter public meterContract;
    IRegistry public registry;
    mapping(address meter => Account) private _accounts;
    mapping(address supplier => Supplier) private _suppliers;
    /// @dev All versions before the newest, by time.
    mapping(address supplier => RateVersion[]) private _earlierRates;

    constructor(IMeter meterContract_, IRegistry registry_) {
        if (address(meterContract_) == address(0) || address(registry_) == address(0)) revert ZeroAddress();
        meterContract = meterContract_;
        registry = registry_;
    }

    /// @notice Pays for a meter's energy. Debt is settled first. Anyone may pay; it cannot be taken back.
    function topUp(address meter) external payable {
        if (msg.value == 0) revert AmountZero();
        (IRegistry.Status status, address supplierAddress,, address sink) = registry.registrationOf(meter);
        if (sink != address(this)) revert NotPrepaid(meter);
        Supplier storage supplier = _suppliers[supplierAddress];
        if (!supplier.hasRate) revert RateNotSet(supplierAddress);
        Account storage account = _accounts[meter];
        int256 before = account.balanceWei;
        uint256 debt = before < 0 ? uint256(-before) : 0;
        if (status != IRegistry.Status.Active && msg.value > debt) {
            revert MeterRemovedAboveDebt(meter, msg.value, debt);
        }
        if (msg.value > MAX_CREDIT_WEI || before + int256(msg.value) > int256(MAX_CREDIT_WEI)) {
            revert CreditTooLarge(msg.value, MAX_CREDIT_WEI);
        }
        int256 balance = before + int256(msg.value);
        uint256 settled = msg.value < debt ? msg.value : debt;
        account.balanceWei = int128(balance);
        if (settled != 0) supplier.accountWei += uint128(settled);
        emit ToppedUp(meter, msg.sender, msg.value, settled, balance);
        if (before <= 0 && balance > 0) emit Restored(meter, uint256(balance));
    }

    /// @inheritdoc IReadingSink
    /// @dev Cannot revert for the Meter: registers below 2^53 Wh and rates below 2^64 wei bound what is ever charged to
    ///      one meter by 2^117 wei, credits by MAX_CREDIT_WEI (below 2^120), so a balance fits int128; and a supplier's
    ///      account only holds wei that were paid in, of which no chain has 2^128.
    function onReading(Delta calldata delta) external {
        if (msg.sender != address(meterContract)) revert NotMeterContract(msg.sender);
        address meter = delta.meter;
        Supplier memory supplier = _suppliers[delta.supplier];
        Account memory account = _accounts[meter];
        uint64 rate = delta.time >= supplier.rateFrom ? supplier.rateWeiPerWh : _earlierRate(delta.supplier, delta.time);
        uint256 cost = uint256(delta.importedWh) * rate;
        int256 before = account.balanceWei;
        int256 balance = before - int256(cost);
        uint256 paid = balance >= 0 ? cost : (before > 0 ? uint256(before) : 0);
        account.balanceWei = int128(balance);
        account.energyWh += uint56(delta.importedWh);
        _accounts[meter] = account;
        if (paid != 0) _suppliers[delta.supplier].accountWei = supplier.accountWei + uint128(paid);
        emit Charged(meter, delta.supplier, delta.importedWh, delta.time, rate, cost, paid, balance);
        if (balance <= 0) {
            if (before > 0) emit Exhausted(meter, uint256(-balance));
        } else if (balance < int256(uint256(account.lowCreditWei)) && before >= int256(uint256(account.lowCreditWei))) {
            emit LowCredit(meter, uint256(balance), account.lowCreditWei);
        }
    }

    /// @inheritdoc IReadingSink
    /// @dev Nobody can have paid for the successor before: `topUp` refuses a meter that was never installed.
    function onSwap(address meter, address successor) external {
        if (msg.sender != address(registry)) revert NotRegistry(msg.sender);
        Account memory account = _accounts[meter];
        delete _accounts[meter];
        _accounts[successor] = account;
        emit CreditMoved(meter, successor, account.balanceWei);
    }

    /// @notice Sets the caller's rate for readings from a Unix time on. What was charged stays as it was; a reading that
    ///         arrives late is charged at the rate of its own time. A first rate, or a lower one, may hold at once, a
    ///         higher one after RATE_NOTICE_S.
    /// @param rateWeiPerWh price of energy, in wei per Wh
    /// @param from Unix time in s, not in the past; 0 for the earliest that is allowed
    function setRate(uint64 rateWeiPerWh, uint48 from) external {
        Supplier storage supplier = _suppliers[msg.sender];
        uint48 present = uint48(block.timestamp);
        uint48 earliest = present;
        if (supplier.hasRate) {
            if (rateWeiPerWh > rateAt(msg.sender, present)) earliest += uint48(RATE_NOTICE_S);
            if (supplier.rateFrom <= present) {
                _earlierRates[msg.sender].push(RateVersion(supplier.rateWeiPerWh, supplier.rateFrom));
            }
        }
        if (from == 0) from = earliest;
        if (from < earliest) revert RateTooSoon(from, earliest);
        supplier.rateWeiPerWh = rateWeiPerWh;
        supplier.rateFrom = from;
        supplier.hasRate = true;
        emit RateSet(msg.sender, rateWeiPerWh, from);
    }

    /// @notice Pays out of the caller's account as a supplier.
    /// @param to receiver; a contract may refuse, then nothing happens
    /// @param amountWei not more than the account holds
    function withdraw(address payable to, uint256 amountWei) external nonReentrant {
        if (to == address(0)) revert ZeroAddress();
        if (amountWei == 0) revert AmountZero();
        Supplier storage supplier = _suppliers[msg.sender];
        uint256 accountWei = supplier.accountWei;
        if (amountWei > accountWei) revert AccountTooSmall(msg.sender, amountWei, accountWei);
        supplier.accountWei = uint128(accountWei - amountWei);
        emit Withdrawn(msg.sender, to, amountWei);
        (bool paid,) = to.call{value: amountWei}("");
        if (!paid) revert WithdrawalFailed(to, amountWei);
    }

    /// @notice Sets the credit below which LowCredit is reported, in wei; 0 for never. By the owner of the meter.
    function setLowCreditThreshold(address meter, uint72 lowCreditWei) external {
        (,, address owner, address sink) = registry.registrationOf(meter);
        if (msg.sender != owner) revert NotOwner(meter, msg.sender);
        if (sink != address(this)) revert NotPrepaid(meter);
        Account storage account = _accounts[meter];
        account.lowCreditWei = lowCreditWei;
        emit LowCreditThresholdSet(meter, lowCreditWei);
        int256 balance = account.balanceWei;
        if (0 < balance && balance < int256(uint256(lowCreditWei))) {
            emit LowCredit(meter, uint256(balance), lowCreditWei);
        }
    }

    /// @notice Whether the relay of a meter is to be on: the meter is active, prepaid, and has credit.
    function supplyAllowed(address meter) external view returns (bool) {
        if (_accounts[meter].balanceWei <= 0) return false;
        (IRegistry.Status status,,, address sink) = registry.registrationOf(meter);
        return status == IRegistry.Status.Active && sink == address(this);
    }

    /// @notice The account of a meter.
    /// @return creditWei prepaid money left
    /// @return debtWei energy charged but not paid
    /// @return energyWh all energy charged to this meter, in Wh
    /// @return lowCreditWei the owner's threshold
    function accountOf(address meter)
        external
        view
        returns (uint256 creditWei, uint256 debtWei, uint256 energyWh, uint256 lowCreditWei)
    {
        Account memory account = _accounts[meter];
        int256 balance = account.balanceWei;
        return (
            balance > 0 ? uint256(balance) : 0,
            balance < 0 ? uint256(-balance) : 0,
            account.energyWh,
            account.lowCreditWei
        );
    }

    /// @notice What a supplier may withdraw, in wei.
    function supplierAccountOf(address supplier) external view returns (uint256 accountWei) {
        return _suppliers[supplier].accountWei;
    }

    /// @notice The newest version of a supplier's rate, which may lie ahead.
    function latestRateOf(address supplier) external view returns (bool hasRate, uint64 rateWeiPerWh, uint64 from) {
        Supplier memory latest = _suppliers[supplier];
        return (latest.hasRate, latest.rateWeiPerWh, latest.rateFrom);
    }

    /// @notice The rate for readings of a Unix time, in wei per Wh; 0 before the supplier's first rate.
    function rateAt(address supplier, uint64 time) public view returns (uint64 rateWeiPerWh) {
        Supplier memory latest = _suppliers[supplier];
        return time >= latest.rateFrom ? latest.rateWeiPerWh : _earlierRate(supplier, time);
    }

    /// @notice Real-time usage of one meter.
    /// @return energyWh all energy charged, in Wh
    /// @return powerW power in its last reading, in W
    /// @return time Unix time of that reading, in s
    function usageOf(address meter) external view returns (uint256 energyWh, int256 powerW, uint256 time) {
        IMeter.LastReading memory last = meterContract.lastReading(meter);
        return (_accounts[meter].energyWh, last.powerW, last.time);
    }

    /// @notice Real-time usage of all meters.
    /// @return energyWh energy taken from the grid in all accepted readings, in Wh
    /// @return powerW sum of the last known power of the active meters, in W
    /// @return meters number of active meters
    function usageOfAll() external view returns (uint256 energyWh, int256 powerW, uint256 meters) {
        (energyWh,, powerW, meters) = meterContract.totals();
    }

    /// @dev Binary search for the last earlier version that holds at `time`: about log2 of the number of versions steps.
    function _earlierRate(address supplier, uint64 time) private view returns (uint64) {
        RateVersion[] storage versions = _earlierRates[supplier];
        uint256 low = 0;
        uint256 high = versions.length;
        while (low < high) {
            uint256 middle = (low + high) / 2;
            if (versions[middle].from <= time) low = middle + 1;
            else high = middle;
        }
        return low == 0 ? 0 : versions[low - 1].rateWeiPerWh;
    }
}
