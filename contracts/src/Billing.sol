// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";

import {IMeter} from "./IMeter.sol";
import {IReadingSink} from "./IReadingSink.sol";
import {IRegistry} from "./IRegistry.sol";
import {ITariffs} from "./ITariffs.sol";
import {ReportedDebts} from "./ReportedDebts.sol";
import {TariffMath} from "./TariffMath.sol";

/// @title Billing: energy that is paid for afterwards, a bill for each billing period (El DApp, done right)
/// @notice Invariant: the contract's balance is the sum of all suppliers' accounts, to the wei (money forced on it past
///         its functions can only add to it): what is paid on a bill is its supplier's at once, no bill takes more than it
///         is for, and only the supplier takes it out. Each Wh that the Meter reports is charged once and stands on
///         exactly one bill, or in the open period; all that was ever charged, less what was credited for energy given,
///         is the sum of all bills and of the open period, less the credit that is carried over. A bill never changes
///         but for what is paid, and one late fee by the terms that held when it was issued.
/// @dev No administrator. An account is named by the first meter of its place; its bills stay its own over changes of the
///      meter and of its key, and are found under the name of each of these meters.
contract Billing is IReadingSink, ReportedDebts, ReentrancyGuardTransient {
    /// @dev One slot, the only one that an ordinary reading writes: the open period, and where it stands in its tariff.
    struct Open {
        uint96 energyWei;
        uint56 usedWh;
        uint56 importedWh;
        uint24 endDay;
        uint24 chargedDay;
    }

    /// @dev One slot: energy given in the open period.
    struct Given {
        uint128 exportWei;
        uint56 exportedWh;
    }

    /// @dev Three slots, kept under the meter that is there now. `creditWei` is what energy given was worth more than energy
    ///      taken in periods before.
    struct Account {
        Open open;
        Given given;
        uint104 standingWei;
        uint24 startDay;
        uint128 creditWei;
    }

    /// @dev One slot, kept under the first meter, as the bills are.
    struct Book {
        address supplier;
        uint24 billCount;
        uint24 disconnectionBill;
        uint40 disconnectionAt;
    }

    /// @dev Four slots, the last of which is written with the fee or a standing charge only.
    struct Bill {
        uint128 dueWei;
        uint128 paidWei;
        uint24 startDay;
        uint24 endDay;
        uint56 importedWh;
        uint56 exportedWh;
        uint40 issuedAt;
        uint40 dueAt;
        uint16 lateFeeBasisPoints;
        uint128 energyWei;
        uint128 exportWei;
        uint104 standingWei;
        uint120 feeWei;
        bool feeCharged;
    }

    /// @dev The account in one slot with the number of receipts; terms in another.
    struct Supplier {
        uint128 accountWei;
        uint64 receipts;
        uint16 dueDays;
        uint16 lateFeeBasisPoints;
        uint16 nextDueDays;
        uint16 nextLateFeeBasisPoints;
        uint40 nextFrom;
    }

    /// @notice An account as it stands.
    /// @param account its name: the first meter of the place
    /// @param supplier who supplies it; zero before the first reading
    /// @param active whether the meter's readings are accepted and billed here
    /// @param importedWh energy taken in the open period, in Wh
    /// @param exportedWh energy given in the open period, in Wh
    /// @param energyWei charged for energy in the open period, in wei
    /// @param standingWei standing charges of the open period
    /// @param exportWei credited for energy given in the open period
    /// @param creditWei carried over from periods before, set against the next bills
    /// @param lastUpdate Unix time of the last reading of this meter, in s
    /// @param startDay first local day, from 1970-01-01, that is not on a bill yet
    /// @param endDay local day with which the next period begins; 0 before the first charge
    /// @param billCount bills so far; they are numbered from 1
    struct AccountState {
        address account;
        address supplier;
        bool active;
        uint256 importedWh;
        uint256 exportedWh;
        uint256 energyWei;
        uint256 standingWei;
        uint256 exportWei;
        uint256 creditWei;
        uint256 lastUpdate;
        uint256 startDay;
        uint256 endDay;
        uint256 billCount;
    }

    /// @notice A bill as it stands now.
    /// @param startDay first local day on it, from 1970-01-01
    /// @param endDay first local day after it
    /// @param energyWei for energy taken
    /// @param standingWei for the days
    /// @param exportWei credit for energy given in the period
    /// @param dueWei what was to be paid: energyWei + standingWei less credit of this period and of those before, not
    ///        below 0
    /// @param feeWei late fee, also where it is due but not charged yet
    /// @param openWei what is still to be paid
    /// @param dueAt Unix time until which it is to be paid, in s
    struct BillState {
        uint256 number;
        uint256 startDay;
        uint256 endDay;
        uint256 importedWh;
        uint256 exportedWh;
        uint256 energyWei;
        uint256 standingWei;
        uint256 exportWei;
        uint256 dueWei;
        uint256 feeWei;
        uint256 paidWei;
        uint256 openWei;
        uint256 issuedAt;
        uint256 dueAt;
        uint256 lateFeeBasisPoints;
    }

    /// @notice The energy of a reading was charged to the open period. (What the reading was, its own event of the Meter in
    ///         the same transaction says.)
    event Charged(address indexed meter, address indexed supplier, uint256 energyWei);
    /// @notice Days have begun since the last charged one: their standing charge.
    event StandingCharged(address indexed meter, address indexed supplier, uint256 standingWei);
    /// @notice Energy was given to the grid: what it is credited with.
    event ExportCredited(address indexed meter, address indexed supplier, uint256 exportedWh, uint256 exportWei);
    /// @notice A billing period is closed: this is its bill.
    /// @param startDay first local day on it
    /// @param endDay first local day after it
    /// @param dueWei what is to be paid until dueAt
    /// @param creditWei what is carried over to the next bill
    event BillIssued(
        address indexed account,
        address indexed supplier,
        uint24 indexed number,
        address meter,
        uint24 startDay,
        uint24 endDay,
        uint56 importedWh,
        uint56 exportedWh,
        uint256 energyWei,
        uint256 standingWei,
        uint256 exportWei,
        uint256 dueWei,
        uint256 creditWei,
        uint40 dueAt
    );
    /// @notice The receipt: anyone has paid on a bill.
    /// @param receipt number of the receipt, rising by one with each of the supplier
    /// @param openWei what is still to be paid on the bill
    event Paid(
        address indexed account,
        address indexed supplier,
        address indexed payer,
        uint24 number,
        uint64 receipt,
        uint256 amountWei,
        uint256 openWei
    );
    /// @notice A bill was not paid in time; the fee is part of it now.
    event LateFeeCharged(address indexed account, address indexed supplier, uint24 indexed number, uint256 feeWei);
    /// @notice Bills that are issued at this Unix time or later go by these terms.
    event TermsAnnounced(address indexed supplier, uint16 dueDays, uint16 lateFeeBasisPoints, uint64 from);
    event Withdrawn(address indexed supplier, address indexed to, uint256 amountWei);
    /// @notice Unless this bill is paid before, the supply is cut at a Unix time, in s.
    event DisconnectionAnnounced(
        address indexed account, address indexed supplier, uint24 indexed number, uint64 disconnectionAt
    );
    /// @notice It is off the table: the bill is paid, or the supplier has withdrawn it.
    event DisconnectionEnded(address indexed account, address indexed supplier, uint24 indexed number);
    /// @notice The account goes on under another meter, or key.
    event AccountMoved(address indexed account, address indexed meter, address indexed successor);

    error NotMeterContract(address caller);
    error NotRegistry(address caller);
    error NotSupplierOf(address meter, address caller);
    error BillUnknown(address meter, uint256 number, uint256 billCount);
    error BillPaid(address meter, uint256 number);
    error BillNotOverdue(address meter, uint256 number, uint64 dueAt);
    error BillWithoutFee(address meter, uint256 number);
    error AmountZero();
    error AmountAboveBill(uint256 amountWei, uint256 openWei);
    error AccountTooSmall(address supplier, uint256 amountWei, uint256 accountWei);
    error WithdrawalFailed(address to, uint256 amountWei);
    error NothingToBill(address meter);
    /// @dev Anybody may close it from that local day on; the first reading of the next period closes it at once.
    error PeriodOpen(address meter, uint256 closableDay, uint256 today);
    error DueDaysOutOfRange(uint16 dueDays, uint16 minimum, uint16 maximum);
    error LateFeeTooHigh(uint16 lateFeeBasisPoints, uint16 maximum);
    error DisconnectionPending(address meter, uint256 number, uint64 disconnectionAt);
    error NoDisconnection(address meter);
    error RangeTooLong(uint256 count, uint256 maximum);

    /// @notice Days for paying a bill: the least and the most that a supplier may set, and what holds until it sets any.
    uint16 public constant MIN_DUE_DAYS = 7;
    uint16 public constant MAX_DUE_DAYS = 366;
    uint16 public constant FIRST_DUE_DAYS = 30;
    /// @notice Highest late fee, in hundredths of a percent of what is open: 10 %.
    uint16 public constant MAX_LATE_FEE_BASIS_POINTS = 1_000;
    /// @notice Terms hold 30 days after their announcement: no bill comes under terms that were not known for as long.
    uint64 public constant TERMS_NOTICE_S = 30 days;
    /// @notice Notice before the supply is cut for an overdue bill.
    uint64 public constant DISCONNECTION_NOTICE_S = 7 days;
    /// @notice Bills in one answer.
    uint256 public constant MAX_BILLS = 64;
    uint256 private constant BASIS_POINTS = 10_000;

    /// @notice Says what energy costs.
    ITariffs public tariffs;
    mapping(address meter => Account) private _accounts;
    /// @dev Name of the account of a meter that was not the first of its place.
    mapping(address meter => address) private _names;
    mapping(address account => Book) private _books;
    mapping(address account => mapping(uint256 number => Bill)) private _bills;
    mapping(address supplier => Supplier) private _suppliers;

    constructor(IRegistry registry_, IMeter meterContract_, ITariffs tariffs_) {
        if (
            address(registry_) == address(0) || address(meterContract_) == address(0)
                || address(tariffs_) == address(0)
        ) revert ZeroAddress();
        registry = registry_;
        meterContract = meterContract_;
        tariffs = tariffs_;
    }

    /// @inheritdoc IReadingSink
    /// @dev Cannot revert for the Meter. Tariffs answers any number and time; TariffMath charges without reverting, since
    ///      registers are below 2^53 Wh and times below 2^40 s; sums stop at the greatest value of their type instead of
    ///      overflowing, which no honest account comes near (2^56 Wh; 2^96 wei, 79 billion WATT, in a period); and there is at most one bill, whose
    ///      number counts days at most. Conversions lose nothing: each value is bounded by its type's greatest before.
    function onReading(Delta calldata delta) external {
        if (msg.sender != address(meterContract)) revert NotMeterContract(msg.sender);
        address meter = delta.meter;
        Account storage account = _accounts[meter];
        Open memory open = account.open;
        uint256 time = delta.time;
        uint256 importedWh = delta.importedWh;
        uint256 exportedWh = delta.exportedWh;
        uint256 endDay = open.endDay;
        if (endDay == 0) {
            if (account.startDay == 0) _begin(account, delta);
        } else if (TariffMath.localSecond(time, delta.zoneS) >= endDay * TariffMath.DAY_S) {
            if (account.startDay < endDay) _issue(meter, delta.supplier, account, open, uint24(endDay));
        }
        TariffMath.Running memory running = TariffMath.Running(open.usedWh, endDay, open.chargedDay);
        TariffMath.Charge memory charged = TariffMath.charge(
            tariffs.versionAt(delta.tariff, uint64(time)),
            running,
            importedWh,
            exportedWh,
            delta.previousTime,
            time,
            delta.zoneS
        );
        unchecked {
            // Terms of a sum are below 2^129 each.
            open.usedWh = uint56(_least(running.usedWh, type(uint56).max));
            open.endDay = uint24(running.endDay);
            open.chargedDay = uint24(running.chargedDay);
            open.importedWh = uint56(_least(open.importedWh + importedWh, type(uint56).max));
            open.energyWei = uint96(_least(open.energyWei + charged.energyWei, type(uint96).max));
        }
        account.open = open;
        emit Charged(meter, delta.supplier, charged.energyWei);
        if (charged.standingWei != 0) {
            account.standingWei = uint104(_least(account.standingWei + charged.standingWei, type(uint104).max));
            emit StandingCharged(meter, delta.supplier, charged.standingWei);
        }
        if (exportedWh != 0) {
            Given memory given = account.given;
            given.exportWei = uint128(_least(given.exportWei + charged.exportWei, type(uint128).max));
            given.exportedWh = uint56(_least(given.exportedWh + exportedWh, type(uint56).max));
            account.given = given;
            emit ExportCredited(meter, delta.supplier, exportedWh, charged.exportWei);
        }
    }

    /// @inheritdoc IReadingSink
    /// @dev Three slots move; bills stay where they are and are found by the account's name.
    function onSwap(address meter, address successor) external {
        if (msg.sender != address(registry)) revert NotRegistry(msg.sender);
        address name = accountNameOf(meter);
        _names[successor] = name;
        _accounts[successor] = _accounts[meter];
        delete _accounts[meter];
        emit AccountMoved(name, meter, successor);
    }

    /// @notice Issues the bill of a billing period that is over without a reading of the next one, a day after its end at
    ///         the earliest, so that its last readings come in before; or the last bill of a meter that was removed, at
    ///         once. Anybody may. Readings of the period that come later stand on the next bill.
    function closePeriod(address meter) external {
        Account storage account = _accounts[meter];
        Open memory open = account.open;
        (IRegistry.Status status, address supplier,,) = registry.registrationOf(meter);
        uint256 endDay = open.endDay;
        if (status == IRegistry.Status.Removed) {
            if (
                open.importedWh == 0 && account.given.exportedWh == 0 && open.energyWei == 0
                    && account.given.exportWei == 0 && account.standingWei == 0
            ) revert NothingToBill(meter);
            endDay = _least(endDay, uint256(open.chargedDay) + 1);
            if (endDay < account.startDay) endDay = account.startDay;
        } else {
            if (endDay <= account.startDay) revert NothingToBill(meter);
            int32 zoneS = meterContract.zoneOf(supplier, uint64(block.timestamp));
            uint256 today = TariffMath.localSecond(block.timestamp, zoneS) / TariffMath.DAY_S;
            if (today <= endDay) revert PeriodOpen(meter, endDay + 1, today);
        }
        _issue(meter, supplier, account, open, uint24(endDay));
        account.open = open;
    }

    /// @notice Pays on a bill, in part or all of it. Anyone may pay; it cannot be taken back. More than is open is refused.
    /// @param meter the meter of the bill, or any that was at its place before or after
    /// @param number number of the bill, from 1
    function pay(address meter, uint24 number) external payable {
        uint256 amountWei = msg.value;
        if (amountWei == 0) revert AmountZero();
        (address account, Book storage book, Bill storage bill) = _find(meter, number);
        _chargeFee(account, book, bill, number);
        uint256 openWei = uint256(bill.dueWei) + bill.feeWei - bill.paidWei;
        if (openWei == 0) revert BillPaid(meter, number);
        if (amountWei > openWei) revert AmountAboveBill(amountWei, openWei);
        openWei -= amountWei;
        bill.paidWei += uint128(amountWei);
        Supplier storage supplier = _suppliers[book.supplier];
        supplier.accountWei += uint128(amountWei);
        uint64 receipt = ++supplier.receipts;
        emit Paid(account, book.supplier, msg.sender, number, receipt, amountWei, openWei);
        if (openWei == 0 && book.disconnectionBill == number) _endDisconnection(account, book);
    }

    /// @notice Makes the late fee of an overdue bill part of it; anybody may. Paying after the time does it, too: the fee is
    ///         always the one on what was open when the time ran out.
    function chargeLateFee(address meter, uint24 number) external {
        (address account, Book storage book, Bill storage bill) = _find(meter, number);
        if (block.timestamp <= bill.dueAt) revert BillNotOverdue(meter, number, bill.dueAt);
        if (!_chargeFee(account, book, bill, number)) revert BillWithoutFee(meter, number);
    }

    /// @notice Announces that the supply is cut unless an overdue bill is paid, DISCONNECTION_NOTICE_S from now. By the
    ///         supplier of the meter.
    function announceDisconnection(address meter, uint24 number) external {
        (address account, Book storage book, Bill storage bill) = _find(meter, number);
        if (msg.sender != book.supplier) revert NotSupplierOf(meter, msg.sender);
        if (block.timestamp <= bill.dueAt) revert BillNotOverdue(meter, number, bill.dueAt);
        _chargeFee(account, book, bill, number);
        if (uint256(bill.dueWei) + bill.feeWei == bill.paidWei) revert BillPaid(meter, number);
        if (book.disconnectionBill != 0) {
            revert DisconnectionPending(meter, book.disconnectionBill, book.disconnectionAt);
        }
        uint64 disconnectionAt = uint64(block.timestamp) + DISCONNECTION_NOTICE_S;
        book.disconnectionBill = number;
        book.disconnectionAt = uint40(disconnectionAt);
        emit DisconnectionAnnounced(account, msg.sender, number, disconnectionAt);
    }

    /// @notice Takes such an announcement back, also after the supply was cut. By the supplier of the meter.
    function withdrawDisconnection(address meter) external {
        address account = accountNameOf(meter);
        Book storage book = _books[account];
        if (msg.sender != book.supplier) revert NotSupplierOf(meter, msg.sender);
        if (book.disconnectionBill == 0) revert NoDisconnection(meter);
        _endDisconnection(account, book);
    }

    /// @notice Announces the caller's terms for bills that are issued TERMS_NOTICE_S from now or later. By a supplier. Terms
    ///         that were announced and do not hold yet are replaced.
    /// @param dueDays days for paying a bill
    /// @param lateFeeBasisPoints fee on what is open of a bill after that, once, in hundredths of a percent; 0 for none
    function announceTerms(uint16 dueDays, uint16 lateFeeBasisPoints) external {
        _checkSupplier();
        if (dueDays < MIN_DUE_DAYS || dueDays > MAX_DUE_DAYS) {
            revert DueDaysOutOfRange(dueDays, MIN_DUE_DAYS, MAX_DUE_DAYS);
        }
        if (lateFeeBasisPoints > MAX_LATE_FEE_BASIS_POINTS) {
            revert LateFeeTooHigh(lateFeeBasisPoints, MAX_LATE_FEE_BASIS_POINTS);
        }
        Supplier storage supplier = _suppliers[msg.sender];
        (supplier.dueDays, supplier.lateFeeBasisPoints) = termsOf(msg.sender, uint64(block.timestamp));
        uint64 from = uint64(block.timestamp) + TERMS_NOTICE_S;
        supplier.nextDueDays = dueDays;
        supplier.nextLateFeeBasisPoints = lateFeeBasisPoints;
        supplier.nextFrom = uint40(from);
        emit TermsAnnounced(msg.sender, dueDays, lateFeeBasisPoints, from);
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

    /// @notice Whether the relay of a meter is to be on: the meter is active and billed here, and its supply is not cut for
    ///         an overdue bill.
    /// @param time Unix time, in s
    function supplyAllowed(address meter, uint64 time) external view returns (bool) {
        (IRegistry.Status status,,, address sink) = registry.registrationOf(meter);
        if (status != IRegistry.Status.Active || sink != address(this)) return false;
        Book storage book = _books[accountNameOf(meter)];
        return book.disconnectionBill == 0 || time < book.disconnectionAt;
    }

    /// @notice The account of a meter as it stands.
    function accountOf(address meter) external view returns (AccountState memory state) {
        Account memory account = _accounts[meter];
        address name = accountNameOf(meter);
        Book memory book = _books[name];
        (IRegistry.Status status,,, address sink) = registry.registrationOf(meter);
        return AccountState({
            account: name,
            supplier: book.supplier,
            active: status == IRegistry.Status.Active && sink == address(this),
            importedWh: account.open.importedWh,
            exportedWh: account.given.exportedWh,
            energyWei: account.open.energyWei,
            standingWei: account.standingWei,
            exportWei: account.given.exportWei,
            creditWei: account.creditWei,
            lastUpdate: meterContract.lastReading(meter).time,
            startDay: account.startDay,
            endDay: account.open.endDay,
            billCount: book.billCount
        });
    }

    /// @notice A bill as it stands now.
    function billOf(address meter, uint24 number) external view returns (BillState memory state) {
        (,, Bill storage bill) = _find(meter, number);
        return _state(bill, number);
    }

    /// @notice Bills of an account, from a number on, up to MAX_BILLS; fewer where there are no more.
    function billsOf(address meter, uint256 first, uint256 count) external view returns (BillState[] memory list) {
        if (count > MAX_BILLS) revert RangeTooLong(count, MAX_BILLS);
        address account = accountNameOf(meter);
        uint256 billCount = _books[account].billCount;
        if (first == 0) first = 1;
        uint256 found = first > billCount ? 0 : _least(count, billCount - first + 1);
        list = new BillState[](found);
        for (uint256 index = 0; index < found; ++index) {
            list[index] = _state(_bills[account][first + index], first + index);
        }
    }

    /// @notice The bill for which the supply of a meter is, or will be, cut and the Unix time of it, in s; 0 for none.
    function disconnectionOf(address meter) external view returns (uint24 number, uint64 disconnectionAt) {
        Book storage book = _books[accountNameOf(meter)];
        return (book.disconnectionBill, book.disconnectionAt);
    }

    /// @notice What a supplier may withdraw, in wei.
    function supplierAccountOf(address supplier) external view returns (uint256 accountWei) {
        return _suppliers[supplier].accountWei;
    }

    /// @notice Terms of a supplier that were announced last, and the Unix time from which they hold; 0 for none.
    function latestTermsOf(address supplier)
        external
        view
        returns (uint16 dueDays, uint16 lateFeeBasisPoints, uint64 from)
    {
        Supplier storage entry = _suppliers[supplier];
        return (entry.nextDueDays, entry.nextLateFeeBasisPoints, entry.nextFrom);
    }

    /// @notice Terms of a supplier for bills that are issued at a Unix time, from the present on.
    function termsOf(address supplier, uint64 time)
        public
        view
        returns (uint16 dueDays, uint16 lateFeeBasisPoints)
    {
        Supplier storage entry = _suppliers[supplier];
        if (entry.nextFrom != 0 && time >= entry.nextFrom) return (entry.nextDueDays, entry.nextLateFeeBasisPoints);
        return (entry.dueDays == 0 ? FIRST_DUE_DAYS : entry.dueDays, entry.lateFeeBasisPoints);
    }

    /// @notice The name of the account of a meter: the first meter of its place.
    function accountNameOf(address meter) public view returns (address account) {
        account = _names[meter];
        if (account == address(0)) account = meter;
    }

    /// @dev The first reading: the first bill begins with the day of the installation.
    function _begin(Account storage account, Delta calldata delta) private {
        uint256 since = delta.previousTime == 0 ? delta.time : delta.previousTime;
        account.startDay = uint24(TariffMath.localSecond(since, delta.zoneS) / TariffMath.DAY_S);
        _books[accountNameOf(delta.meter)].supplier = delta.supplier;
    }

    /// @dev Closes the open period of an account; the caller writes `open` back.
    function _issue(address meter, address supplier, Account storage account, Open memory open, uint24 endDay) private {
        address name = accountNameOf(meter);
        uint24 number = ++_books[name].billCount;
        Given memory given = account.given;
        Bill memory bill;
        bill.standingWei = account.standingWei;
        uint256 chargedWei = uint256(open.energyWei) + bill.standingWei;
        uint256 availableWei = uint256(account.creditWei) + given.exportWei;
        uint256 usedWei = _least(chargedWei, availableWei);
        bill.dueWei = uint128(chargedWei - usedWei);
        bill.startDay = account.startDay;
        bill.endDay = endDay;
        bill.importedWh = open.importedWh;
        bill.exportedWh = given.exportedWh;
        bill.issuedAt = uint40(block.timestamp);
        uint16 dueDays;
        (dueDays, bill.lateFeeBasisPoints) = termsOf(supplier, uint64(block.timestamp));
        bill.dueAt = uint40(block.timestamp + uint256(dueDays) * 1 days);
        bill.energyWei = open.energyWei;
        bill.exportWei = given.exportWei;
        _bills[name][number] = bill;
        open.importedWh = 0;
        open.energyWei = 0;
        delete account.given;
        account.standingWei = 0;
        account.startDay = endDay;
        uint128 creditWei = uint128(_least(availableWei - usedWei, type(uint128).max));
        account.creditWei = creditWei;
        emit BillIssued(
            name,
            supplier,
            number,
            meter,
            bill.startDay,
            endDay,
            bill.importedWh,
            bill.exportedWh,
            bill.energyWei,
            bill.standingWei,
            bill.exportWei,
            bill.dueWei,
            creditWei,
            bill.dueAt
        );
    }

    /// @dev Once, after the time for paying, on what is open: nothing can have been paid in between.
    /// @return charged whether there was a fee to charge
    function _chargeFee(address account, Book storage book, Bill storage bill, uint24 number)
        private
        returns (bool charged)
    {
        if (bill.feeCharged) return false;
        uint256 feeWei = _feeOf(bill);
        if (feeWei == 0) return false;
        bill.feeWei = uint120(_least(feeWei, type(uint120).max));
        bill.feeCharged = true;
        emit LateFeeCharged(account, book.supplier, number, bill.feeWei);
        return true;
    }

    function _endDisconnection(address account, Book storage book) private {
        uint24 number = book.disconnectionBill;
        book.disconnectionBill = 0;
        book.disconnectionAt = 0;
        emit DisconnectionEnded(account, book.supplier, number);
    }

    function _find(address meter, uint256 number)
        private
        view
        returns (address account, Book storage book, Bill storage bill)
    {
        account = accountNameOf(meter);
        book = _books[account];
        if (number == 0 || number > book.billCount) revert BillUnknown(meter, number, book.billCount);
        bill = _bills[account][number];
    }

    /// @dev The fee that is charged, or due by now; rounded down to the wei.
    function _feeOf(Bill storage bill) private view returns (uint256 feeWei) {
        if (bill.feeCharged) return bill.feeWei;
        if (block.timestamp <= bill.dueAt) return 0;
        uint256 openWei = uint256(bill.dueWei) - bill.paidWei;
        return _least(openWei * bill.lateFeeBasisPoints / BASIS_POINTS, type(uint120).max);
    }

    function _state(Bill storage bill, uint256 number) private view returns (BillState memory state) {
        uint256 feeWei = _feeOf(bill);
        return BillState({
            number: number,
            startDay: bill.startDay,
            endDay: bill.endDay,
            importedWh: bill.importedWh,
            exportedWh: bill.exportedWh,
            energyWei: bill.energyWei,
            standingWei: bill.standingWei,
            exportWei: bill.exportWei,
            dueWei: bill.dueWei,
            feeWei: feeWei,
            paidWei: bill.paidWei,
            openWei: uint256(bill.dueWei) + feeWei - bill.paidWei,
            issuedAt: bill.issuedAt,
            dueAt: bill.dueAt,
            lateFeeBasisPoints: bill.lateFeeBasisPoints
        });
    }

    function _least(uint256 one, uint256 other) private pure returns (uint256) {
        return one < other ? one : other;
    }
}
