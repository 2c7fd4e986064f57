// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IExhaustion} from "./IExhaustion.sol";
import {IMeter} from "./IMeter.sol";
import {IReadingSink} from "./IReadingSink.sol";
import {IRegistry} from "./IRegistry.sol";
import {ITariffs} from "./ITariffs.sol";
import {SupplierFunds} from "./SupplierFunds.sol";
import {SupplyTerms} from "./SupplyTerms.sol";
import {TariffMath} from "./TariffMath.sol";
import {Vouchers} from "./Vouchers.sol";

/// @title Exhaustion: prepaid credit, used up reading by reading (Wattcoin paper, figure 4)
/// @notice Invariant: the contract's balance is the sum of all meters' credits and all suppliers' accounts, to the wei
///         (money forced on the contract past its functions, such as a block reward, can only add to it). Each Wh
///         that the Meter reports is charged once, by the tariff and its version that held at the reading's time.
///         What the credit does not cover is overdrawn, and repaid first and whole; or, in friendly hours, it is debt, and
///         recovered at a share of what is paid in. A meter has credit or is overdrawn, never both.
/// @dev There is no administrator. Money leaves a meter's credit by a reading that its key has signed (or its closing
///      register), by its owner's own transfer, or to its owner after the meter has left; and to settle what it owes.
///      What only some meters use (debt, thresholds, money owed for export) stands apart, and a reading looks at it only
///      where the meter's slot says so or the credit ends.
contract Exhaustion is IExhaustion, IReadingSink, SupplierFunds, SupplyTerms, Vouchers {
    /// @dev One slot, all that an ordinary reading writes of a meter. `balanceWei` below zero is overdrawn. Days are local,
    ///      counted from 1970-01-01. Credit of 2^lowBits or more is above the owner's threshold for sure.
    struct Account {
        int128 balanceWei;
        uint56 usedWh;
        uint24 endDay;
        uint24 chargedDay;
        uint8 lowBits;
        bool hasDebt;
        bool isOwed;
    }

    /// @dev Between the meter and its supplier, beside the balance: debt from friendly hours, and money for energy given to
    ///      the grid that the supplier did not have.
    struct Dues {
        uint128 debtWei;
        uint128 owedWei;
    }

    /// @dev For the estimate. `baselineWei` is the balance before the first reading of the day, raised by all that has
    ///      changed it since but charges: what the balance is below it was spent today.
    struct Daily {
        int128 baselineWei;
        uint112 averageWei;
        uint16 closedDays;
    }

    /// @notice Most that a meter may have overdrawn, or owe, to be handed over to a successor, in wei. See `onReading`.
    uint256 public constant MAX_CARRIED_WEI = 2 ** 120;
    /// @notice Changes of a meter or its key over which a voucher for it stays good.
    uint256 public constant MAX_SUCCESSIONS = 16;
    /// @notice Days over which the estimate averages.
    uint256 public constant AVERAGE_DAYS = 7;
    /// @dev Energy of a period that a successor takes over, in Wh, so that no sum leaves its type.
    uint56 private constant MAX_CARRIED_WH = 2 ** 55;
    /// @dev Of an account's slot, shifted down by the balance: usedWh, endDay and chargedDay.
    uint256 private constant POSITION_MASK = 2 ** 104 - 1;

    /// @notice The contract whose readings are charged.
    IMeter public meterContract;
    /// @notice Says whose a meter is.
    IRegistry public registry;
    mapping(address meter => Account) private _accounts;
    mapping(address meter => Dues) private _dues;
    mapping(address meter => Daily) private _daily;
    mapping(address meter => uint128 lowCreditWei) private _lowCredit;

    constructor(IMeter meterContract_, IRegistry registry_, ITariffs tariffs_) {
        if (
            address(meterContract_) == address(0) || address(registry_) == address(0) || address(tariffs_) == address(0)
        ) revert ZeroAddress();
        meterContract = meterContract_;
        registry = registry_;
        tariffs = tariffs_;
    }

    /// @notice Pays for a meter's energy. What is overdrawn is repaid first, then a share of its debt. Anyone may pay;
    ///         it cannot be taken back.
    function topUp(address meter) external payable {
        _checkPaidIn();
        _credit(meter, msg.value, msg.sender);
    }

    /// @notice Redeems a voucher: its amount moves from the supplier's account to the credit of a meter, as a top-up.
    ///         Anyone may bring it.
    /// @param meter the voucher's meter, or the one that has its place now; for a bearer's voucher any of the supplier's
    /// @param signature of the supplier
    /// @param holderSignature for a bearer's voucher, of the voucher's own key over (voucher, meter); else zero
    function redeem(
        Voucher calldata voucher,
        Signature calldata signature,
        address meter,
        Signature calldata holderSignature
    ) external nonReentrant {
        if (voucher.amountWei == 0) revert AmountZero();
        if (voucher.meter != address(0)) _checkSucceeds(meter, voucher.meter);
        (, address supplier,,) = registry.registrationOf(meter);
        if (supplier != voucher.supplier) revert VoucherOfAnotherSupplier(meter, supplier, voucher.supplier);
        _useVoucher(voucher, signature, meter, holderSignature);
        _take(supplier, voucher.amountWei);
        emit VoucherRedeemed(supplier, meter, voucher.serial, voucher.amountWei, msg.sender);
        _credit(meter, voucher.amountWei, supplier);
    }

    /// @inheritdoc IReadingSink
    /// @dev Cannot revert for the Meter. No number leaves its type: registers below 2^53 Wh and prices below 2^64 wei bound
    ///      what energy ever costs one meter by 2^117 wei, and standing charges below 2^80 wei for fewer than 2^24 days
    ///      by 2^104; with what it took over from predecessors (MAX_CARRIED_WEI each) all that a meter is ever overdrawn or
    ///      owes is below 2^122. For energy given the same bound holds, and what is owed cannot be handed over above
    ///      MAX_CARRIED_WEI. Credits, tills and purses are parts of the money here, MAX_HELD_WEI at most. Energy of a
    ///      period is below 2^55 + 2^53. It calls nobody but Tariffs, for a version that was in force before the current
    ///      one: a binary search.
    function onReading(Delta calldata delta) external {
        if (msg.sender != address(meterContract)) revert NotMeterContract(msg.sender);
        Account storage account = _accounts[delta.meter];
        Till storage tillSlot = _tills[delta.tariff];
        uint256 word = _read(account);
        uint256 till = _read(tillSlot);
        (uint256 position, uint256 cost, uint256 standing, uint256 earned) = TariffMath.chargePacked(
            _versionFor(till, delta.tariff, delta.time),
            word >> 128 & POSITION_MASK,
            delta.importedWh,
            delta.exportedWh,
            delta.previousTime,
            delta.time,
            delta.zoneS
        );
        int256 before = int128(int256(word));
        // The day, which lies highest, has changed.
        if (position >> 80 != uint24(word >> 208)) {
            _closeDay(delta.meter, uint24(word >> 208), position >> 80, before);
            if (standing != 0) emit StandingCharged(delta.meter, standing);
        }
        unchecked {
            cost += standing;
            int256 balance = before - int256(cost);
            uint256 paid = cost;
            uint256 flags = word >> 232;
            if (balance <= 0 || earned != 0 || flags >> 16 != 0) {
                (balance, paid, till, flags) = _chargeBeyond(delta, before, cost, earned, till, flags);
            }
            _write(account, uint128(uint256(balance)) | position << 128 | flags << 232);
            // What a till holds is below 2^112, its lowest bits: the sum stays within.
            if (paid != 0) _write(tillSlot, till + paid);
            emit Charged(delta.meter, delta.supplier, delta.importedWh, cost, paid, balance);
            if (before <= 0 || balance < int256(1 << uint8(flags))) {
                _report(delta.meter, delta.supplier, uint8(flags), before, balance);
            }
        }
    }

    /// @inheritdoc IReadingSink
    /// @dev Nobody can have paid for the successor before: what was never installed cannot be paid for.
    function onSwap(address meter, address successor) external {
        if (msg.sender != address(registry)) revert NotRegistry(msg.sender);
        Account memory account = _accounts[meter];
        Dues memory dues = _dues[meter];
        int256 balance = account.balanceWei;
        _checkCarried(meter, balance < 0 ? uint256(-balance) : 0);
        _checkCarried(meter, dues.debtWei);
        _checkCarried(meter, dues.owedWei);
        if (account.usedWh > MAX_CARRIED_WH) account.usedWh = MAX_CARRIED_WH;
        _accounts[successor] = account;
        _dues[successor] = dues;
        _daily[successor] = _daily[meter];
        _lowCredit[successor] = _lowCredit[meter];
        delete _accounts[meter];
        delete _dues[meter];
        delete _daily[meter];
        delete _lowCredit[meter];
        emit CreditMoved(meter, successor, balance, dues.debtWei);
    }

    /// @notice Gives credit of a meter to another prepaid one, of any supplier. By the owner of the first; its debt from
    ///         friendly hours is settled out of the credit before.
    function transferCredit(address from, address to, uint256 amountWei) external {
        if (amountWei == 0) revert AmountZero();
        if (from == to) revert SameMeter(from);
        (address supplier,) = _checkOwner(from);
        (int256 before, uint256 available, uint256 settled) = _settleDebt(from, supplier);
        if (amountWei > available) revert CreditTooSmall(from, amountWei, available);
        _setBalance(from, before, int256(available - amountWei));
        emit CreditTransferred(from, to, amountWei, settled);
        _report(from, supplier, _accounts[from].lowBits, before, int256(available - amountWei));
        _credit(to, amountWei, msg.sender);
    }

    /// @notice Pays the credit of a meter that was removed to its owner, who calls. What the supplier owes for energy given
    ///         to the grid is added as far as it has money here; debt is settled before.
    function withdrawCredit(address meter) external nonReentrant {
        (IRegistry.Status status, address supplier, address owner, address sink) = registry.registrationOf(meter);
        if (msg.sender != owner) revert NotOwner(meter, msg.sender);
        if (status == IRegistry.Status.Active && sink == address(this)) revert MeterNotRemoved(meter);
        _payOwed(meter, supplier);
        (int256 before, uint256 available, uint256 settled) = _settleDebt(meter, supplier);
        if (available == 0) revert CreditTooSmall(meter, 1, 0);
        _setBalance(meter, before, 0);
        emit CreditWithdrawn(meter, owner, available, settled);
        _pay(payable(owner), available);
    }

    /// @notice Pays what a supplier owes a meter for energy given to the grid, as far as the supplier has money here. What
    ///         is overdrawn is settled by it first. Anyone may call.
    function payOwed(address meter) external {
        (, address supplier,,) = registry.registrationOf(meter);
        int256 before = _accounts[meter].balanceWei;
        _payOwed(meter, supplier);
        _report(meter, supplier, _accounts[meter].lowBits, before, _accounts[meter].balanceWei);
    }

    /// @notice Sets the credit below which LowCredit is reported, in wei; 0 for never. By the owner of the meter.
    function setLowCreditThreshold(address meter, uint128 lowCreditWei) external {
        _checkOwner(meter);
        Account storage account = _accounts[meter];
        uint8 bits = 0;
        while (bits < 126 && lowCreditWei > 1 << bits) ++bits;
        account.lowBits = bits;
        _lowCredit[meter] = lowCreditWei;
        emit LowCreditThresholdSet(meter, lowCreditWei);
        int256 balance = account.balanceWei;
        if (balance > 0 && uint256(balance) < lowCreditWei) emit LowCredit(meter, uint256(balance), lowCreditWei);
    }

    /// @notice The one answer that the relay of a meter follows: whether the supply is to be on at a time. It is for an
    ///         active, prepaid meter with credit, or within its emergency credit, or in friendly hours.
    /// @param time Unix time, in s
    function supplyAllowed(address meter, uint64 time) external view returns (bool) {
        (IRegistry.Status status, address supplier,, address sink) = registry.registrationOf(meter);
        if (status != IRegistry.Status.Active || sink != address(this)) return false;
        int256 balance = _accounts[meter].balanceWei;
        if (balance > 0) return true;
        Terms memory terms = _termsOf(supplier);
        if (balance > -int256(uint256(terms.emergencyWei))) return true;
        if (_dues[meter].debtWei >= terms.debtLimitWei) return false;
        return _isFriendly(supplier, terms, TariffMath.localSecond(uint256(time) + 1, meterContract.zoneOf(supplier, time)));
    }

    /// @notice The account of a meter.
    function accountOf(address meter) external view returns (AccountView memory seen) {
        Account memory account = _accounts[meter];
        Dues memory dues = _dues[meter];
        int256 balance = account.balanceWei;
        return AccountView({
            creditWei: balance > 0 ? uint256(balance) : 0,
            overdrawnWei: balance < 0 ? uint256(-balance) : 0,
            debtWei: dues.debtWei,
            owedWei: dues.owedWei,
            lowCreditWei: _lowCredit[meter],
            periodWh: account.usedWh,
            periodEndDay: account.endDay
        });
    }

    /// @notice How long the credit will last by what was charged on the last days, each weighing a seventh or more.
    /// @return averageWei charged a day; 0 before the first day is over
    /// @return daysLeft whole days; 2^256 - 1 where nothing was charged
    function estimateOf(address meter) external view returns (uint256 averageWei, uint256 daysLeft) {
        averageWei = _daily[meter].averageWei;
        int256 balance = _accounts[meter].balanceWei;
        if (averageWei == 0) return (0, type(uint256).max);
        return (averageWei, balance > 0 ? uint256(balance) / averageWei : 0);
    }

    /// @dev Puts money that has arrived to a meter: repays what is overdrawn, recovers debt, the rest is credit.
    function _credit(address meter, uint256 amount, address payer) private {
        (IRegistry.Status status, address supplier,, address sink) = registry.registrationOf(meter);
        if (sink != address(this)) revert NotPrepaid(meter);
        Account memory account = _accounts[meter];
        int256 before = account.balanceWei;
        uint256 overdrawn = before < 0 ? uint256(-before) : 0;
        uint256 debt = account.hasDebt ? _dues[meter].debtWei : 0;
        bool isActive = status == IRegistry.Status.Active;
        if (!isActive && amount > overdrawn + debt) revert MeterRemovedAboveDebt(meter, amount, overdrawn + debt);
        uint256 settled = amount < overdrawn ? amount : overdrawn;
        uint256 recovered = 0;
        if (debt != 0 && amount > settled) {
            recovered = isActive ? _recoveryShare(supplier, amount - settled) : amount - settled;
            if (recovered > debt) recovered = debt;
            _setDues(meter, debt - recovered, _dues[meter].owedWei);
        }
        int256 balance = before + int256(amount - recovered);
        if (settled + recovered != 0) _purses[supplier] += settled + recovered;
        _setBalance(meter, before, balance);
        emit ToppedUp(meter, payer, amount, settled, recovered, balance);
        _report(meter, supplier, account.lowBits, before, balance);
    }

    /// @dev The supplier's share of a top-up for debt, rounded up so that debt ends.
    function _recoveryShare(address supplier, uint256 amount) private view returns (uint256) {
        uint256 percent = _termsOf(supplier).recoveryPercent;
        return percent == 0 ? amount : (amount * percent + 99) / 100;
    }

    /// @dev Charges a reading that the credit does not cover, or of a meter that gives energy or is owed for some. What was
    ///      earned settles the cost first, then what is overdrawn; the rest is paid by the supplier, from the till of the
    ///      tariff, then from the purse. What is still missing stays owed.
    /// @param till the till's slot; written here where it pays, and returned so
    /// @param flags lowBits, hasDebt and isOwed, as they lie in the account's slot
    function _chargeBeyond(
        Delta calldata delta,
        int256 before,
        uint256 cost,
        uint256 earned,
        uint256 till,
        uint256 flags
    ) private returns (int256 balance, uint256 paid, uint256 tillAfter, uint256 flagsAfter) {
        balance = before;
        tillAfter = till;
        flagsAfter = flags;
        uint256 owed = flags >> 16 == 0 ? 0 : _dues[delta.meter].owedWei;
        uint256 credited = earned + owed;
        uint256 rest = credited > cost ? credited - cost : 0;
        uint256 open = cost > credited ? cost - credited : 0;
        if (open != 0) {
            paid = before <= 0 ? 0 : (uint256(before) < open ? uint256(before) : open);
            balance -= int256(open);
            if (balance < 0 && _isFriendlyAt(delta)) {
                // What is charged beyond the credit becomes debt.
                balance = before < 0 ? before : int256(0);
                _addDebt(delta.meter, open - paid);
                flagsAfter |= 1 << 8;
            }
        } else if (rest != 0) {
            uint256 settled = before >= 0 ? 0 : (uint256(-before) < rest ? uint256(-before) : rest);
            rest -= settled;
            uint256 fromTill = rest < uint112(till) ? rest : uint112(till);
            uint256 fromPurse = rest - fromTill;
            if (fromTill != 0) {
                tillAfter = till - fromTill;
                _write(_tills[delta.tariff], tillAfter);
            }
            if (fromPurse != 0) {
                uint256 purse = _purses[delta.supplier];
                if (fromPurse > purse) fromPurse = purse;
                _purses[delta.supplier] = purse - fromPurse;
            }
            balance += int256(settled + fromTill + fromPurse);
            rest -= fromTill + fromPurse;
        }
        if (credited != 0) {
            if (rest != owed) {
                _dues[delta.meter].owedWei = uint128(rest);
                flagsAfter = uint16(flagsAfter) | (rest == 0 ? 0 : 1 << 16);
            }
            emit ExportCredited(delta.meter, delta.exportedWh, credited, rest);
        }
    }

    function _isFriendlyAt(Delta calldata delta) private view returns (bool) {
        return _isFriendly(
            delta.supplier, _termsOf(delta.supplier), TariffMath.localSecond(delta.time, delta.zoneS)
        );
    }

    /// @dev It was spent on this day as what is charged to the balance is: the baseline says so.
    function _addDebt(address meter, uint256 added) private {
        uint256 debt = _dues[meter].debtWei + added;
        _dues[meter].debtWei = uint128(debt);
        _daily[meter].baselineWei += int128(int256(added));
        emit DebtIncreased(meter, added, debt);
    }

    /// @dev Tells what a change of the balance means for the supply, and for the owner's threshold.
    function _report(address meter, address supplier, uint8 lowBits, int256 before, int256 balance) private {
        if (before <= 0 || balance <= 0) {
            uint256 limit = _termsOf(supplier).emergencyWei;
            bool wasOn = before > -int256(limit);
            bool isOn = balance > -int256(limit);
            if (wasOn && !isOn) emit Exhausted(meter, uint256(-balance));
            else if (!wasOn && isOn) emit Restored(meter, balance > 0 ? uint256(balance) : 0);
            else if (isOn && before > 0) emit EmergencyCreditBegun(meter, uint256(-balance), limit);
        }
        if (lowBits != 0 && balance > 0 && balance < before) {
            uint256 threshold = _lowCredit[meter];
            if (uint256(balance) < threshold && uint256(before) >= threshold) {
                emit LowCredit(meter, uint256(balance), threshold);
            }
        }
    }

    /// @dev Once a local day: what was spent on the day that is over (or the days, where none had a reading between) goes
    ///      into the average, an exact integer: seven days of equal weight at first, then each new one a seventh.
    function _closeDay(address meter, uint256 closedDay, uint256 day, int256 balance) private {
        Daily memory daily = _daily[meter];
        if (closedDay != 0 && day > closedDay) {
            uint256 spent = balance < daily.baselineWei ? uint256(daily.baselineWei - balance) : 0;
            uint256 passed = day - closedDay;
            uint256 kept = passed >= AVERAGE_DAYS ? 0 : AVERAGE_DAYS - passed;
            if (kept > daily.closedDays) kept = daily.closedDays;
            uint256 average = (daily.averageWei * kept + spent) / (kept + passed);
            daily.averageWei = average > type(uint112).max ? type(uint112).max : uint112(average);
            daily.closedDays = uint16(passed >= AVERAGE_DAYS ? AVERAGE_DAYS : kept + passed);
        }
        daily.baselineWei = int128(balance);
        _daily[meter] = daily;
    }

    /// @dev Settles debt out of the credit, to the supplier's purse. The new balance is left to the caller to write.
    /// @return before balance as it stands
    /// @return available credit that is left
    function _settleDebt(address meter, address supplier)
        private
        returns (int256 before, uint256 available, uint256 settled)
    {
        Account memory account = _accounts[meter];
        before = account.balanceWei;
        available = before > 0 ? uint256(before) : 0;
        if (account.hasDebt && available != 0) {
            Dues memory dues = _dues[meter];
            settled = dues.debtWei < available ? dues.debtWei : available;
            if (settled != 0) {
                available -= settled;
                _setDues(meter, dues.debtWei - settled, dues.owedWei);
                _purses[supplier] += settled;
            }
        }
    }

    /// @dev Pays what is owed for energy given, first towards what is overdrawn, the rest out of the supplier's account.
    function _payOwed(address meter, address supplier) private {
        if (!_accounts[meter].isOwed) return;
        Dues memory dues = _dues[meter];
        int256 before = _accounts[meter].balanceWei;
        uint256 overdrawn = before < 0 ? uint256(-before) : 0;
        uint256 settled = overdrawn < dues.owedWei ? overdrawn : dues.owedWei;
        uint256 rest = dues.owedWei - settled;
        uint256 funds = _fundsOf(supplier);
        uint256 paid = rest < funds ? rest : funds;
        if (paid != 0) _take(supplier, paid);
        _setDues(meter, dues.debtWei, rest - paid);
        _setBalance(meter, before, before + int256(settled + paid));
        emit OwedPaid(meter, settled + paid, rest - paid);
    }

    /// @dev Changes a balance by other than a charge: the day's baseline moves along.
    function _setBalance(address meter, int256 before, int256 balance) private {
        Account storage account = _accounts[meter];
        account.balanceWei = int128(balance);
        if (account.chargedDay != 0) _daily[meter].baselineWei += int128(balance - before);
    }

    function _setDues(address meter, uint256 debt, uint256 owed) private {
        _dues[meter] = Dues(uint128(debt), uint128(owed));
        Account storage account = _accounts[meter];
        account.hasDebt = debt != 0;
        account.isOwed = owed != 0;
    }

    function _checkOwner(address meter) private view returns (address supplier, IRegistry.Status status) {
        address owner;
        address sink;
        (status, supplier, owner, sink) = registry.registrationOf(meter);
        if (msg.sender != owner) revert NotOwner(meter, msg.sender);
        if (sink != address(this)) revert NotPrepaid(meter);
    }

    /// @dev Whether a meter is the voucher's own or took its place, perhaps by way of others.
    function _checkSucceeds(address meter, address voucherMeter) private view {
        address current = voucherMeter;
        for (uint256 step = 0; current != meter; ++step) {
            current = step == MAX_SUCCESSIONS ? address(0) : registry.meterOf(current).successor;
            if (current == address(0)) revert VoucherForAnotherMeter(meter, voucherMeter);
        }
    }

    function _checkCarried(address meter, uint256 amountWei) private pure {
        if (amountWei > MAX_CARRIED_WEI) revert OverdrawnTooLarge(meter, amountWei, MAX_CARRIED_WEI);
    }

    // The slots of the structs Account and Till as words on the stack, since copies in memory would cost a reading as much
    // as a slot. The first member lies in the lowest bits, as the compiler packs them. Assembly since Solidity reads a
    // struct's slot only member by member.

    function _read(Account storage account) private view returns (uint256 word) {
        assembly ("memory-safe") {
            word := sload(account.slot)
        }
    }

    function _write(Account storage account, uint256 word) private {
        assembly ("memory-safe") {
            sstore(account.slot, word)
        }
    }

    function _read(Till storage till) private view returns (uint256 word) {
        assembly ("memory-safe") {
            word := sload(till.slot)
        }
    }

    function _write(Till storage till, uint256 word) private {
        assembly ("memory-safe") {
            sstore(till.slot, word)
        }
    }
}
