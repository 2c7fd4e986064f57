// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Deposits} from "./Deposits.sol";
import {IExportSales} from "./IExportSales.sol";
import {IMeter} from "./IMeter.sol";
import {IRegistry} from "./IRegistry.sol";
import {MarketDelivery} from "./MarketDelivery.sol";
import {MarketRules} from "./MarketRules.sol";

/// @title Market: neighbours sell energy to each other through the micro-grid's store (thesis, 5.3, 5.4.2 to 5.4.4)
/// @notice Invariant, money: the contract's balance is the sum of all accounts, of the deposits for all energy for sale, and
///         of price, tax and deposit of all that is sold and open, to the wei (money forced on it can only add to it).
///         Invariant, energy: what a producer has advertised is for sale, or sold and open, or has been delivered, has
///         returned or is missing, to the Wh; the store holds what is for sale or sold and open of all producers.
/// @dev There is no administrator: regulators set rules for adverts to come, within bounds, and money leaves an account
///      only by its holder.
contract Market is MarketDelivery {
    /// @notice A producer offers energy, which it sends to the store from now on.
    /// @param advert number of the advert
    /// @param until Unix time at which it ends, in s
    event EnergyAdvertised(
        uint256 indexed advert,
        address indexed producer,
        address indexed meter,
        uint64 time,
        uint64 until,
        uint64 energyWh,
        uint64 minPriceWeiPerWh,
        uint256 depositWei
    );
    /// @notice A consumer bought energy of an advert; the money is held until its delivery.
    event EnergySold(
        uint256 indexed trade,
        address indexed producer,
        address indexed consumer,
        uint256 advert,
        uint64 energyWh,
        uint64 unitPriceWeiPerWh,
        uint256 shareWei,
        uint256 taxWei,
        uint64 deliverUntil
    );
    /// @notice Energy that was not sold is the producer's again, and its deposit.
    /// @param expired the advert's time is over, else the producer withdrew it
    event EnergyReturned(
        uint256 indexed advert, address indexed producer, uint64 energyWh, uint256 depositWei, bool expired
    );
    /// @notice Money that was more than needed went back to its sender, or to its account where it refused it.
    event SurplusReturned(address indexed payer, uint256 amountWei, bool toAccount);

    error NotProducer(address caller);
    error NotConsumer(address caller);
    error PriceInvalid(uint64 minPriceWeiPerWh, uint64 maximumWeiPerWh);
    error EnergyTooSmall(uint64 energyWh, uint64 leastWh);
    /// @dev The store holds storedWh of mostWh: the advert would not fit.
    error StoreFull(uint64 energyWh, uint64 storedWh, uint64 mostWh);
    error AlreadyAdvertised(address producer, uint64 time);
    error TooManyAdverts(address meter, uint256 maximum);
    /// @dev The auction sells what the meter exports until then; the meter's last reading is of readingTime, and all
    ///      energy after it would count here.
    error MeterSellsInAuction(address meter, uint64 until, uint64 readingTime);
    error AdvertUnknown(address producer, uint64 time);
    error AdvertEnded(address producer, uint64 time, uint64 until);
    error PriceMismatch(uint64 priceWeiPerWh, uint64 firstPriceWeiPerWh);
    error NotEnoughEnergy(uint64 energyWh, uint64 unsoldWh);
    /// @dev A part is at least this much, or all that is left.
    error PartTooSmall(uint64 energyWh, uint64 leastWh);
    error PaymentTooSmall(uint256 amountWei, uint256 neededWei);
    error NothingToReturn(uint256 advert);
    error CountInvalid(uint256 count, uint256 maximum);

    /// @notice An advert's life, and the step of its price (thesis, 5.4.2).
    uint64 public constant ADVERT_S = 3 hours;
    uint64 public constant PRICE_STEP_S = 1 hours;
    /// @notice Highest first price, in wei per Wh: what it rises to still fits its type.
    uint64 public constant MAX_PRICE_WEI_PER_WH = 10 ** 19;
    /// @notice An advert is sold in at most so many parts, so that nobody can fill lists with crumbs.
    uint64 public constant MAX_PARTS = 8;
    /// @notice Most adverts of one meter that have energy for sale or open trades: each delivery looks at all of them.
    uint256 public constant MAX_OPEN_ADVERTS = 32;
    /// @notice Most ended adverts that one call of `returnExpired` returns, and most entries in a page.
    uint256 public constant MAX_PAGE = 64;
    /// @notice Most ended adverts that a new one returns: it adds one, so they become fewer, and its producer pays for
    ///         no more than these.
    uint256 public constant MAX_RETURNED = 16;

    /// @dev Number of the first advert whose time may not be over. They all live as long, so they end in their order.
    uint64 private _firstLive = 1;
    mapping(address producer => mapping(uint64 time => uint64 advert)) private _numberOf;

    constructor(IRegistry registry_, IMeter meterContract_, IExportSales auction_)
        MarketRules(registry_, meterContract_, auction_)
    {}

    /// @notice Offers energy, which the producer's meter is to export to the store from now on. By a producer, with a
    ///         deposit of at least `depositFor(energyWh, minPriceWeiPerWh)`; what is sent beyond it comes back at once.
    /// @dev Returns up to MAX_RETURNED adverts that have ended first, so that they do not fill the store.
    /// @param energyWh energy offered, in Wh
    /// @param minPriceWeiPerWh the producer's share for a Wh in the first hour, in wei; it rises by a tenth of it every hour
    /// @return time Unix time by which the advert is named
    function availableEnergyAdvert(uint64 energyWh, uint64 minPriceWeiPerWh)
        external
        payable
        nonReentrant
        returns (uint64 time)
    {
        if (_roleOf(msg.sender) != IRegistry.Role.Producer) revert NotProducer(msg.sender);
        if (minPriceWeiPerWh == 0 || minPriceWeiPerWh > MAX_PRICE_WEI_PER_WH) revert PriceInvalid(minPriceWeiPerWh, MAX_PRICE_WEI_PER_WH);
        _returnExpired(MAX_RETURNED);
        Rules memory now_ = _rules;
        if (energyWh < now_.leastWh) revert EnergyTooSmall(energyWh, now_.leastWh);
        uint64 stored = storedWh;
        if (energyWh > now_.mostWh || stored > now_.mostWh - energyWh) revert StoreFull(energyWh, stored, now_.mostWh);
        time = uint64(block.timestamp);
        if (_numberOf[msg.sender][time] != 0) revert AlreadyAdvertised(msg.sender, time);
        (address meter, IMeter.LastReading memory last) = _readingOf(msg.sender);
        uint48 auctionedUntil = auction.exportSoldUntil(meter);
        if (last.time < auctionedUntil) revert MeterSellsInAuction(meter, auctionedUntil, last.time);
        if (_openAdverts[meter].length >= MAX_OPEN_ADVERTS) revert TooManyAdverts(meter, MAX_OPEN_ADVERTS);
        uint64 depositWeiPerWh = _depositPerWh(minPriceWeiPerWh, now_.penaltyBps);
        uint256 depositWei = uint256(energyWh) * depositWeiPerWh;
        if (msg.value < depositWei) revert PaymentTooSmall(msg.value, depositWei);

        uint64 number = ++advertCount;
        _adverts[number] = Advert({
            producer: msg.sender,
            time: uint48(time),
            taxBps: now_.taxBps,
            openTrades: 0,
            meter: meter,
            deliveryS: now_.deliveryS,
            unsoldWh: energyWh,
            firstPriceWeiPerWh: minPriceWeiPerWh,
            depositWeiPerWh: depositWeiPerWh,
            exportFromWh: uint56(last.exportWh),
            exportTakenWh: 0,
            energyWh: energyWh
        });
        _numberOf[msg.sender][time] = number;
        _openAdverts[meter].push(number);
        storedWh = stored + energyWh;
        _energyOf[msg.sender].advertisedWh += energyWh;
        emit EnergyAdvertised(
            number, msg.sender, meter, time, time + ADVERT_S, energyWh, minPriceWeiPerWh, depositWei
        );
        _returnSurplus(msg.value - depositWei);
    }

    /// @notice Buys energy of an advert, all of it or a part. By a consumer, with at least the producer's share and the tax
    ///         (see `quote`); what is sent beyond them comes back at once. The money is held until the delivery.
    /// @param energyWh energy wanted, in Wh
    /// @param advertTime when it was advertised: Unix time, in s
    /// @param price the advert's first price, in wei for a Wh; what is paid is the price of its age
    /// @return trade number of the trade
    function requestForEnergy(uint64 energyWh, uint64 advertTime, uint64 price, address producer)
        external
        payable
        nonReentrant
        returns (uint256 trade)
    {
        if (_roleOf(msg.sender) != IRegistry.Role.Consumer) revert NotConsumer(msg.sender);
        uint64 number = numberOf(producer, advertTime);
        Advert memory advert = _advert(number);
        if (price != advert.firstPriceWeiPerWh) revert PriceMismatch(price, advert.firstPriceWeiPerWh);
        if (block.timestamp >= advertTime + ADVERT_S) {
            revert AdvertEnded(producer, advertTime, advertTime + ADVERT_S);
        }
        if (_roleOf(producer) != IRegistry.Role.Producer) revert NotProducer(producer);
        _checkMeter(advert.meter, producer);
        _checkPart(energyWh, advert);
        uint64 unitPriceWeiPerWh = _priceAt(advert.firstPriceWeiPerWh, uint64(block.timestamp) - advertTime);
        uint256 shareWei = uint256(energyWh) * unitPriceWeiPerWh;
        uint256 taxWei = _tax(energyWh, unitPriceWeiPerWh, advert.taxBps);
        if (msg.value < shareWei + taxWei) revert PaymentTooSmall(msg.value, shareWei + taxWei);

        _adverts[number].unsoldWh = advert.unsoldWh - energyWh;
        _adverts[number].openTrades = advert.openTrades + 1;
        uint48 deliverUntil = uint48(block.timestamp) + advert.deliveryS;
        trade = _openTradeFor(number, energyWh, unitPriceWeiPerWh, deliverUntil);
        emit EnergySold(
            trade, producer, msg.sender, number, energyWh, unitPriceWeiPerWh, shareWei, taxWei, deliverUntil
        );
        _returnSurplus(msg.value - shareWei - taxWei);
    }

    /// @notice Takes back what is not sold of the caller's advert; what is sold stays sold.
    /// @param advertTime when it was advertised: Unix time, in s
    function withdrawAdvert(uint64 advertTime) external {
        uint64 number = numberOf(msg.sender, advertTime);
        if (_adverts[number].unsoldWh == 0) revert NothingToReturn(number);
        _return(number, block.timestamp >= advertTime + ADVERT_S);
    }

    /// @notice Returns energy of adverts whose time is over to its producers, the oldest first. By anybody.
    /// @param most at most so many adverts, up to MAX_PAGE
    function returnExpired(uint256 most) external {
        if (most == 0 || most > MAX_PAGE) revert CountInvalid(most, MAX_PAGE);
        _returnExpired(most);
    }

    /// @notice The deposit for an advert by the rules of now, in wei.
    function depositFor(uint64 energyWh, uint64 minPriceWeiPerWh) external view returns (uint256 depositWei) {
        return uint256(energyWh) * _depositPerWh(minPriceWeiPerWh, _rules.penaltyBps);
    }

    /// @notice What energy of an advert costs now.
    /// @return unitPriceWeiPerWh the producer's share for a Wh, in wei
    /// @return shareWei the producer's share, in wei
    /// @return taxWei the tax on it, in wei
    function quote(uint64 energyWh, uint64 advertTime, address producer)
        external
        view
        returns (uint64 unitPriceWeiPerWh, uint256 shareWei, uint256 taxWei)
    {
        Advert memory advert = _advert(numberOf(producer, advertTime));
        if (block.timestamp >= advertTime + ADVERT_S) {
            revert AdvertEnded(producer, advertTime, advertTime + ADVERT_S);
        }
        unitPriceWeiPerWh = _priceAt(advert.firstPriceWeiPerWh, uint64(block.timestamp) - advertTime);
        return (unitPriceWeiPerWh, uint256(energyWh) * unitPriceWeiPerWh, _tax(energyWh, unitPriceWeiPerWh, advert.taxBps));
    }

    /// @inheritdoc IExportSales
    /// @dev Not known while an advert can be bought from or a trade is open: readings count until it is settled. Both end
    ///      by themselves, a trade with a settlement that anybody makes. No more steps than MAX_OPEN_ADVERTS.
    function exportSoldUntil(address meter) external view returns (uint48) {
        uint64[] memory open = _openAdverts[meter];
        for (uint256 index = 0; index < open.length; ++index) {
            Advert storage advert = _adverts[open[index]];
            if (advert.openTrades != 0 || block.timestamp < advert.time + ADVERT_S) return type(uint48).max;
        }
        return 0;
    }

    /// @notice Number from which on adverts may have energy for sale; all before it have ended.
    function firstLive() external view returns (uint64) {
        return _firstLive;
    }

    /// @notice A page of adverts, by number.
    /// @param first number of the first one, from 1
    /// @param count how many, up to MAX_PAGE; fewer come where there are no more
    function adverts(uint256 first, uint256 count) external view returns (Advert[] memory page) {
        uint256 length = _pageLength(first, count, advertCount);
        page = new Advert[](length);
        for (uint256 index = 0; index < length; ++index) {
            page[index] = _advert(first + index);
        }
    }

    /// @notice A page of trades, by number, as `adverts`.
    function trades(uint256 first, uint256 count) external view returns (Trade[] memory page) {
        uint256 length = _pageLength(first, count, tradeCount);
        page = new Trade[](length);
        for (uint256 index = 0; index < length; ++index) {
            page[index] = _trade(first + index);
        }
    }

    /// @notice The number of an advert. Reverts where there is none.
    function numberOf(address producer, uint64 advertTime) public view returns (uint64 number) {
        number = _numberOf[producer][advertTime];
        if (number == 0) revert AdvertUnknown(producer, advertTime);
    }

    /// @dev Keeps a trade of the caller with the producer of an advert.
    function _openTradeFor(uint64 advert, uint64 energyWh, uint64 unitPriceWeiPerWh, uint48 deliverUntil)
        private
        returns (uint64 trade)
    {
        (address meter, IMeter.LastReading memory last) = _readingOf(msg.sender);
        if (_openTrades[meter].length >= MAX_OPEN_TRADES) revert TooManyTrades(meter, MAX_OPEN_TRADES);
        trade = ++tradeCount;
        _trades[trade] = Trade({
            consumer: msg.sender,
            deliverUntil: deliverUntil,
            open: true,
            unitPriceWeiPerWh: unitPriceWeiPerWh,
            energyWh: energyWh,
            deliveredWh: 0,
            consumerMeter: meter,
            advert: advert,
            importFromWh: uint56(last.importWh),
            importTakenWh: 0
        });
        _openTrades[meter].push(trade);
    }

    function _returnExpired(uint256 most) private {
        uint64 first = _firstLive;
        uint64 end = advertCount + 1;
        if (end - first > most) end = first + uint64(most);
        uint64 number = first;
        while (number < end && block.timestamp >= _adverts[number].time + ADVERT_S) {
            if (_adverts[number].unsoldWh != 0) _return(number, true);
            ++number;
        }
        if (number != first) _firstLive = number;
    }

    function _return(uint64 number, bool expired) private {
        Advert storage advert = _adverts[number];
        (address producer, uint64 unsoldWh) = (advert.producer, advert.unsoldWh);
        uint256 depositWei = uint256(unsoldWh) * advert.depositWeiPerWh;
        advert.unsoldWh = 0;
        storedWh -= unsoldWh;
        _energyOf[producer].returnedWh += unsoldWh;
        _credit(producer, depositWei);
        _closeAdvert(number, advert.meter, 0, advert.openTrades);
        emit EnergyReturned(number, producer, unsoldWh, depositWei, expired);
    }

    /// @dev Pushed, as the caller alone bears what it does with it.
    function _returnSurplus(uint256 amountWei) private {
        if (amountWei == 0) return;
        (bool paid,) = msg.sender.call{value: amountWei}("");
        if (!paid) _credit(msg.sender, amountWei);
        emit SurplusReturned(msg.sender, amountWei, !paid);
    }

    function _checkPart(uint64 energyWh, Advert memory advert) private pure {
        if (energyWh == 0) revert EnergyZero();
        if (energyWh > advert.unsoldWh) revert NotEnoughEnergy(energyWh, advert.unsoldWh);
        uint64 leastWh = (advert.energyWh + MAX_PARTS - 1) / MAX_PARTS;
        if (energyWh < leastWh && energyWh != advert.unsoldWh) revert PartTooSmall(energyWh, leastWh);
    }

    function _depositPerWh(uint64 minPriceWeiPerWh, uint16 penaltyBps) private pure returns (uint64) {
        return uint64(Deposits.perWh(minPriceWeiPerWh, penaltyBps));
    }

    /// @dev A tenth of the first price more for every hour that has passed.
    function _priceAt(uint64 firstPriceWeiPerWh, uint64 ageS) private pure returns (uint64) {
        return uint64(uint256(firstPriceWeiPerWh) * (10 + ageS / PRICE_STEP_S) / 10);
    }

    function _pageLength(uint256 first, uint256 count, uint256 total) private pure returns (uint256) {
        if (count == 0 || count > MAX_PAGE) revert CountInvalid(count, MAX_PAGE);
        if (first == 0 || first > total) return 0;
        uint256 left = total - first + 1;
        return count < left ? count : left;
    }
}
