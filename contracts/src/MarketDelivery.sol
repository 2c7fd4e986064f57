// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Accounts} from "./Accounts.sol";
import {IMeter} from "./IMeter.sol";
import {IRegistry} from "./IRegistry.sol";
import {MarketRules} from "./MarketRules.sol";

/// @title What was sold on the market: its delivery by the readings of both meters, and its payment (thesis, 5.4.3)
/// @notice Invariant: a trade pays its producer, and the tax, for energy that was delivered, and for no more than was
///         sold; all the rest of the consumer's money goes back. Delivered is what both meters show: the producer's
///         export register has risen since the advert, the consumer's import register since the sale. Each Wh of a
///         register serves one trade at most, and none if it was exported in a slot for which the auction has an ask.
/// @dev What is due goes to accounts, so nobody can keep a delivery from being settled by refusing money.
abstract contract MarketDelivery is MarketRules, Accounts {
    /// @notice Energy that a producer offers.
    /// @dev Four slots; the two registers in one, since a delivery changes them in all open adverts of a meter.
    /// @param time Unix time, in s, by which it is named
    /// @param openTrades trades from it that have not ended
    /// @param deliveryS time for the delivery of what is sold from it, in s
    /// @param unsoldWh still for sale; zero when the advert has ended, in Wh
    /// @param firstPriceWeiPerWh the producer's share for a Wh in the first hour, in wei
    /// @param depositWeiPerWh the producer's deposit for a Wh, in wei
    /// @param exportFromWh the export register of the producer's meter at this time, in Wh
    /// @param exportTakenWh of what it has risen by since, what serves trades already, of this advert or of others
    /// @param energyWh energy offered, in Wh
    struct Advert {
        address producer;
        uint48 time;
        uint16 taxBps;
        uint16 openTrades;
        address meter;
        uint32 deliveryS;
        uint64 unsoldWh;
        uint64 firstPriceWeiPerWh;
        uint64 depositWeiPerWh;
        uint56 exportFromWh;
        uint56 exportTakenWh;
        uint64 energyWh;
    }

    /// @notice Energy sold from an advert to one consumer.
    /// @dev Four slots, the registers in one as in an advert.
    /// @param deliverUntil Unix time, in s
    /// @param unitPriceWeiPerWh the producer's share for a Wh, in wei
    /// @param advert number of the advert
    /// @param importFromWh the import register of the consumer's meter at the sale, in Wh
    /// @param importTakenWh of what it has risen by since, what serves trades already, this one or others
    struct Trade {
        address consumer;
        uint48 deliverUntil;
        bool open;
        uint64 unitPriceWeiPerWh;
        uint64 energyWh;
        uint64 deliveredWh;
        address consumerMeter;
        uint64 advert;
        uint56 importFromWh;
        uint56 importTakenWh;
    }

    /// @notice All energy a producer has ever advertised, as far as its way has ended, in Wh.
    /// @param deliveredWh to consumers
    /// @param returnedWh back to the producer: not sold in time, withdrawn, or sold and there but not taken
    /// @param missingWh sold, but not shown by the producer's meter
    struct EnergyAccount {
        uint64 advertisedWh;
        uint64 deliveredWh;
        uint64 returnedWh;
        uint64 missingWh;
    }

    /// @notice Who takes part has named the own meter for trades from now on.
    event MeterChosen(address indexed participant, address indexed meter);
    /// @notice So much of a trade came: shareWei went to the producer, taxWei to the treasury, and the deposit for it back.
    /// @param energyWh that came now
    /// @param deliveredWh that has come in all
    event EnergyDelivered(
        uint256 indexed trade,
        address indexed producer,
        address indexed consumer,
        uint64 energyWh,
        uint64 deliveredWh,
        uint256 shareWei,
        uint256 taxWei,
        uint256 depositWei
    );
    /// @notice A trade has ended. Where some energy did not come, its price went back to the consumer.
    /// @param returnedWh shown by the producer's meter, but not taken by the consumer
    /// @param missingWh not shown by the producer's meter
    /// @param penaltyWei of the producer's deposit, to the consumer
    /// @param depositWei of the producer's deposit, back to the producer
    event TradeSettled(
        uint256 indexed trade,
        address indexed producer,
        address indexed consumer,
        uint64 deliveredWh,
        uint64 returnedWh,
        uint64 missingWh,
        uint256 refundWei,
        uint256 penaltyWei,
        uint256 depositWei
    );

    error NotGridController(address caller, address gridController);
    error NotMeterOwner(address meter, address caller);
    error MeterInactive(address meter);
    error MeterNotChosen(address participant);
    /// @dev From the last accepted reading all energy of a trade counts, so it must not be old.
    error ReadingTooOld(address meter, uint64 time, uint64 earliest);
    error TradeNotOpen(uint256 trade);
    error EnergyZero();
    error EnergyAboveSale(uint256 trade, uint64 energyWh, uint64 openWh);
    /// @dev The readings since the sale do not show as much: energy of the two meters that serves no other trade.
    error EnergyAboveReadings(uint256 trade, uint64 energyWh, uint64 exportWh, uint64 importWh);
    error DeliveryNotOver(uint256 trade, uint64 deliverUntil);
    /// @dev A meter's reading of the delivery's end is not there yet; it is waited for until `until`.
    error ReadingsAwaited(uint256 trade, address meter, uint64 until);
    error TooManyTrades(address meter, uint256 maximum);

    /// @notice Most open trades of one meter as buyer: each delivery looks at all of them.
    uint256 public constant MAX_OPEN_TRADES = 64;
    /// @notice Oldest reading from which a trade's energy is counted: readings come every quarter of an hour.
    uint64 public constant MAX_READING_AGE_S = 1 hours;
    /// @notice How long a reading of the end of a delivery is waited for, as a gateway may be off the network.
    uint64 public constant READING_GRACE_S = 3 days;

    uint256 internal constant BPS = 10_000;

    /// @notice What the micro-grid's store holds by its accounts: energy for sale, and energy sold but not delivered, in Wh.
    uint64 public storedWh;
    /// @notice How many adverts and trades there have been; both are numbered from 1.
    uint64 public advertCount;
    uint64 public tradeCount;
    mapping(uint256 advert => Advert) internal _adverts;
    mapping(uint256 trade => Trade) internal _trades;
    /// @dev Numbers of a meter's adverts that have energy for sale or open trades, in no order; the market bounds them.
    mapping(address meter => uint64[]) internal _openAdverts;
    /// @dev Numbers of a meter's open trades as buyer, at most MAX_OPEN_TRADES, in no order.
    mapping(address meter => uint64[]) internal _openTrades;
    /// @notice The meter that somebody trades with.
    mapping(address participant => address meter) public meterOfParticipant;
    mapping(address producer => EnergyAccount) internal _energyOf;

    /// @notice Names the meter with which the caller trades from now on. It must be the caller's own, and active.
    function chooseMeter(address meter) external {
        _checkMeter(meter, msg.sender);
        meterOfParticipant[msg.sender] = meter;
        emit MeterChosen(msg.sender, meter);
    }

    /// @notice Confirms that energy of a trade has come, a part or all of what is open: the producer is paid for it at
    ///         once. Both meters' readings must show it. By the grid controller.
    /// @param energyWh energy that came since what was confirmed before, in Wh
    function confirmDelivery(uint256 trade, uint64 energyWh) external {
        if (msg.sender != gridController) revert NotGridController(msg.sender, gridController);
        (Trade memory sold, Advert memory advert) = _openTrade(trade);
        if (energyWh == 0) revert EnergyZero();
        uint64 openWh = sold.energyWh - sold.deliveredWh;
        if (energyWh > openWh) revert EnergyAboveSale(trade, energyWh, openWh);
        (uint64 exportWh, uint64 importWh) = _shown(sold, advert);
        if (energyWh > exportWh || energyWh > importWh) {
            revert EnergyAboveReadings(trade, energyWh, exportWh, importWh);
        }
        _deliver(trade, sold, advert, energyWh, exportWh, importWh);
        if (energyWh == openWh) _end(trade, sold, advert, 0, false);
    }

    /// @notice Ends a trade whose time for delivery is over, by the readings alone: paid is what both meters show, the
    ///         rest goes back to the consumer, with a penalty for what the producer's meter does not show. By anybody.
    /// @dev Who never shows the own readings gains nothing. They are waited for; when the grace is over, a producer's
    ///      meter shows what it shows, and for a consumer's meter without a reading of the end the producer's alone
    ///      decides. A reading that comes within the grace counts with all that it shows, also with what came after the
    ///      end: the Meter keeps the last one only. A meter that was removed or swapped has shown all that it will, and
    ///      brings no penalty.
    function settle(uint256 trade) external {
        (Trade memory sold, Advert memory advert) = _openTrade(trade);
        if (block.timestamp < sold.deliverUntil) revert DeliveryNotOver(trade, sold.deliverUntil);
        (bool producerComplete, bool producerActive) = _isComplete(advert.meter, sold.deliverUntil);
        (bool consumerComplete,) = _isComplete(sold.consumerMeter, sold.deliverUntil);
        uint64 graceUntil = sold.deliverUntil + READING_GRACE_S;
        if (block.timestamp < graceUntil && !(producerComplete && consumerComplete)) {
            revert ReadingsAwaited(trade, producerComplete ? sold.consumerMeter : advert.meter, graceUntil);
        }
        (uint64 exportWh, uint64 importWh) = _shown(sold, advert);
        uint64 openWh = sold.energyWh - sold.deliveredWh;
        uint64 sentWh = exportWh < openWh ? exportWh : openWh;
        uint64 cameWh = consumerComplete && importWh < sentWh ? importWh : sentWh;
        if (cameWh != 0) _deliver(trade, sold, advert, cameWh, exportWh, importWh);
        _end(trade, sold, advert, sentWh - cameWh, producerActive);
    }

    /// @notice What the two meters of an open trade show for it now: energy that serves no trade yet, in Wh.
    function shownOf(uint256 trade) external view returns (uint64 exportWh, uint64 importWh) {
        (Trade memory sold, Advert memory advert) = _openTrade(trade);
        return _shown(sold, advert);
    }

    /// @notice The numbers of a meter's adverts with energy for sale or open trades, and of its open trades as buyer.
    function openOf(address meter) external view returns (uint64[] memory adverts, uint64[] memory trades) {
        return (_openAdverts[meter], _openTrades[meter]);
    }

    /// @notice What became of a producer's energy.
    function energyOf(address producer) external view returns (EnergyAccount memory) {
        return _energyOf[producer];
    }

    /// @dev The meter of a participant, and its last reading, which must not be old.
    function _readingOf(address participant) internal view returns (address meter, IMeter.LastReading memory last) {
        meter = meterOfParticipant[participant];
        if (meter == address(0)) revert MeterNotChosen(participant);
        _checkMeter(meter, participant);
        last = _lastReading(meter);
        uint64 earliest = uint64(block.timestamp) - MAX_READING_AGE_S;
        if (last.time < earliest) revert ReadingTooOld(meter, last.time, earliest);
    }

    function _advert(uint256 number) internal view returns (Advert memory) {
        return _adverts[number];
    }

    function _trade(uint256 number) internal view returns (Trade memory) {
        return _trades[number];
    }

    /// @dev Reverts unless the meter is active and the participant's own.
    function _checkMeter(address meter, address participant) internal view {
        (IRegistry.Status status, address owner) = _registrationOf(meter);
        if (owner != participant) revert NotMeterOwner(meter, participant);
        if (status != IRegistry.Status.Active) revert MeterInactive(meter);
    }

    /// @dev The tax on so much of a trade, in wei: of the sum, so that its parts add up to the tax of the whole.
    function _tax(uint64 energyWh, uint64 unitPriceWeiPerWh, uint16 taxBps) internal pure returns (uint256) {
        return uint256(energyWh) * unitPriceWeiPerWh * taxBps / BPS;
    }

    /// @dev Takes an advert off its meter's list where nothing of it is for sale and no trade is open.
    function _closeAdvert(uint256 number, address meter, uint64 unsoldWh, uint16 openTrades) internal {
        if (unsoldWh == 0 && openTrades == 0) _remove(_openAdverts[meter], number);
    }

    function _openTrade(uint256 trade) private view returns (Trade memory sold, Advert memory advert) {
        sold = _trade(trade);
        if (!sold.open) revert TradeNotOpen(trade);
        advert = _advert(sold.advert);
    }

    function _registrationOf(address meter) private view returns (IRegistry.Status status, address owner) {
        (status,, owner,) = registry.registrationOf(meter);
    }

    function _lastReading(address meter) private view returns (IMeter.LastReading memory) {
        return meterContract.lastReading(meter);
    }

    /// @dev Whether no reading of the time before `until` is to come from a meter any more.
    function _isComplete(address meter, uint64 until) private view returns (bool complete, bool active) {
        (IRegistry.Status status,) = _registrationOf(meter);
        active = status == IRegistry.Status.Active;
        complete = !active || _lastReading(meter).time >= until;
    }

    /// @dev What the registers have risen by, and serves no trade yet.
    function _shown(Trade memory sold, Advert memory advert) private view returns (uint64 exportWh, uint64 importWh) {
        exportWh = _less(_lastReading(advert.meter).exportWh, advert.exportFromWh + advert.exportTakenWh);
        importWh = _less(_lastReading(sold.consumerMeter).importWh, sold.importFromWh + sold.importTakenWh);
    }

    /// @dev Pays for energy that came, and takes it from what the meters show; changes `sold` and `advert` as well.
    ///      Where a consumer's readings were kept back, its meter shows less, and gives what it has.
    function _deliver(
        uint256 trade,
        Trade memory sold,
        Advert memory advert,
        uint64 energyWh,
        uint64 exportWh,
        uint64 importWh
    ) private {
        _takeExport(sold.advert, advert, energyWh, exportWh);
        _takeImport(trade, sold, energyWh < importWh ? energyWh : importWh, importWh);
        uint256 shareWei = uint256(energyWh) * sold.unitPriceWeiPerWh;
        uint256 depositWei = uint256(energyWh) * advert.depositWeiPerWh;
        uint256 taxWei = _tax(sold.deliveredWh + energyWh, sold.unitPriceWeiPerWh, advert.taxBps)
            - _tax(sold.deliveredWh, sold.unitPriceWeiPerWh, advert.taxBps);
        sold.deliveredWh += energyWh;
        _trades[trade].deliveredWh = sold.deliveredWh;
        storedWh -= energyWh;
        _energyOf[advert.producer].deliveredWh += energyWh;
        _credit(advert.producer, shareWei + depositWei);
        if (taxWei != 0) _credit(treasury(), taxWei);
        emit EnergyDelivered(
            trade, advert.producer, sold.consumer, energyWh, sold.deliveredWh, shareWei, taxWei, depositWei
        );
    }

    /// @dev Ends a trade: the price of what is open of it goes back.
    /// @param returnedWh of that, what the producer's meter shows
    /// @param punished whether the producer pays for what it does not show
    function _end(uint256 trade, Trade memory sold, Advert memory advert, uint64 returnedWh, bool punished) private {
        uint64 openWh = sold.energyWh - sold.deliveredWh;
        uint64 missingWh = openWh - returnedWh;
        uint256 refundWei = uint256(openWh) * sold.unitPriceWeiPerWh
            + _tax(sold.energyWh, sold.unitPriceWeiPerWh, advert.taxBps)
            - _tax(sold.deliveredWh, sold.unitPriceWeiPerWh, advert.taxBps);
        uint256 penaltyWei = punished ? uint256(missingWh) * advert.depositWeiPerWh : 0;
        uint256 depositWei = uint256(openWh) * advert.depositWeiPerWh - penaltyWei;
        _trades[trade].open = false;
        _remove(_openTrades[sold.consumerMeter], trade);
        _adverts[sold.advert].openTrades = advert.openTrades - 1;
        _closeAdvert(sold.advert, advert.meter, advert.unsoldWh, advert.openTrades - 1);
        if (openWh != 0) {
            storedWh -= openWh;
            _energyOf[advert.producer].returnedWh += returnedWh;
            _energyOf[advert.producer].missingWh += missingWh;
            _credit(sold.consumer, refundWei + penaltyWei);
            _credit(advert.producer, depositWei);
        }
        emit TradeSettled(
            trade,
            advert.producer,
            sold.consumer,
            sold.deliveredWh,
            returnedWh,
            missingWh,
            refundWei,
            penaltyWei,
            depositWei
        );
    }

    /// @dev Takes energy from what a producer's register has risen by since an advert: always the earliest that is free,
    ///      since later energy can serve more. So of the meter's other adverts those that began no later lose all of it,
    ///      and those that began later what the free energy before them does not cover.
    function _takeExport(uint256 number, Advert memory advert, uint64 energyWh, uint64 freeWh) private {
        uint64[] memory open = _openAdverts[advert.meter];
        uint64 registerWh = advert.exportFromWh + advert.exportTakenWh + freeWh;
        for (uint256 index = 0; index < open.length; ++index) {
            Advert storage other = _adverts[open[index]];
            (uint56 fromWh, uint56 takenWh) = (other.exportFromWh, other.exportTakenWh);
            uint64 lostWh = open[index] == number || fromWh <= advert.exportFromWh
                ? energyWh
                : _less(energyWh, _less(freeWh, _less(registerWh, fromWh + takenWh)));
            if (lostWh != 0) other.exportTakenWh = takenWh + uint56(lostWh);
        }
    }

    /// @dev As `_takeExport`, for a consumer's register and trades.
    function _takeImport(uint256 trade, Trade memory sold, uint64 energyWh, uint64 freeWh) private {
        uint64[] memory open = _openTrades[sold.consumerMeter];
        uint64 registerWh = sold.importFromWh + sold.importTakenWh + freeWh;
        for (uint256 index = 0; index < open.length; ++index) {
            Trade storage other = _trades[open[index]];
            (uint56 fromWh, uint56 takenWh) = (other.importFromWh, other.importTakenWh);
            uint64 lostWh = open[index] == trade || fromWh <= sold.importFromWh
                ? energyWh
                : _less(energyWh, _less(freeWh, _less(registerWh, fromWh + takenWh)));
            if (lostWh != 0) other.importTakenWh = takenWh + uint56(lostWh);
        }
    }

    /// @dev The difference, or zero: nothing about registers may keep a trade from ending.
    function _less(uint64 a, uint64 b) private pure returns (uint64) {
        return a > b ? a - b : 0;
    }

    /// @dev Takes a number off a list that has it.
    function _remove(uint64[] storage list, uint256 number) private {
        uint256 last = list.length - 1;
        for (uint256 index = 0; index < last; ++index) {
            if (list[index] == number) {
                list[index] = list[last];
                break;
            }
        }
        list.pop();
    }
}
