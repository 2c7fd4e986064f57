// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {AuctionBook} from "./AuctionBook.sol";
import {AuctionRules} from "./AuctionRules.sol";
import {Deposits} from "./Deposits.sol";
import {IMeter} from "./IMeter.sol";
import {IRegistry} from "./IRegistry.sol";
import {MarketRules} from "./MarketRules.sol";
import {SlotRegisters} from "./SlotRegisters.sol";

/// @title Auction: a two-sided auction of the energy of each slot (thesis, 8.3: "Bidding for the energy units")
/// @notice Invariant: the contract's balance is the sum of all accounts and of what is held for orders, to the wei (money
///         forced on the contract past its functions can only add to it). A slot has one clearing at most, and it can
///         only be the one that its orders define: bids by falling and asks by rising price, equal prices by sequence;
///         the best bid takes from the best ask as long as it offers no less than is asked. So no other choice of trades
///         is worth more to those that trade, and none worth as much moves more energy. Each Wh of it belongs to one bid
///         and one ask, and is paid for once, or refunded once.
/// @dev The order of the book is found off the chain, by anybody, and given to `clear`; one pass over all orders checks
///      that it is the order, and matches as it goes. What is not in it, twice in it, or in the wrong place, reverts.
///
///      The price of pay-as-clear is the middle, rounded down, of all prices at which nobody wants to trade more or less
///      than it does: not below the dearest ask that trades and the best bid that is not wholly served, not above the
///      lowest bid that trades and the cheapest ask that is not wholly served. With pay-as-bid each Wh costs what its
///      bid says.
///
///      Traded energy is a line from 0 to `tradedWh`. Each order that trades has a part of it, from `fromWh` on; where
///      the parts of a bid and an ask overlap, the two trade. What a seller's meter shows fills its part from the
///      beginning, what a buyer's meter shows likewise: so each overlap is settled by itself, whatever came before.
contract Auction is AuctionBook, SlotRegisters {
    /// @dev One side of the book in the clearing.
    /// @param terms price and energy of each order, in the order of the clearing
    /// @param position where the matching stands: the best order that is not wholly served
    /// @param openWh what is left of that order, in Wh
    /// @param marginalWei price of the last order that trades, in wei per Wh
    struct Queue {
        uint256[] terms;
        uint256 position;
        uint256 openWh;
        uint256 marginalWei;
    }

    /// @notice Energy of a trade, in Wh.
    /// @param deliveredWh shown by both meters
    /// @param returnedWh shown by the seller's meter only: not paid for, and no penalty
    /// @param missingWh not shown by the seller's meter
    struct Delivery {
        uint32 deliveredWh;
        uint32 returnedWh;
        uint32 missingWh;
    }

    /// @notice Money of a trade, in wei.
    /// @param shareWei to the seller
    /// @param taxWei to the treasury
    /// @param refundWei back to the buyer
    /// @param penaltyWei from the seller's deposit to the buyer
    /// @param depositWei back to the seller
    struct Payment {
        uint256 shareWei;
        uint256 taxWei;
        uint256 refundWei;
        uint256 penaltyWei;
        uint256 depositWei;
    }

    /// @notice A slot is cleared; OrderMatched tells of each order that trades.
    /// @param priceWeiPerWh one price at which all of it could be traded, and is with pay-as-clear
    event SlotCleared(
        uint48 indexed slot, address indexed caller, Pricing pricing, uint48 tradedWh, uint64 priceWeiPerWh
    );
    event OrderMatched(
        uint48 indexed slot, address indexed account, Side side, uint16 number, uint48 fromWh, uint32 tradedWh
    );
    /// @notice Money of an order that is not needed for trades went back to its account.
    /// @param forfeitWei what was kept because the order was sealed and never revealed, to the treasury
    event OrderReleased(
        uint48 indexed slot, address indexed account, Side side, uint16 number, uint256 refundWei, uint256 forfeitWei
    );
    /// @notice A trade is settled: what came is paid for, the rest refunded.
    event TradeSettled(
        uint48 indexed slot,
        address indexed seller,
        address indexed buyer,
        uint16 bidNumber,
        uint16 askNumber,
        uint64 priceWeiPerWh,
        Delivery delivery,
        Payment payment
    );

    error BookNotComplete(uint48 slot, uint48 until);
    error ClearingOver(uint48 slot, uint48 until);
    error AlreadyCleared(uint48 slot);
    error NotCleared(uint48 slot);
    /// @dev No order was given for the slot.
    error SlotUnknown(uint48 slot);
    /// @dev All orders whose terms are known must be in the clearing.
    error ClearingIncomplete(Side side, uint256 given, uint256 needed);
    /// @dev The order does not exist or was not revealed.
    error OrderNotOpen(Side side, uint16 number);
    /// @dev A bid after one with a lower price, an ask after one with a higher price, or equal prices out of sequence.
    error ClearingOutOfOrder(Side side, uint16 number, uint16 nextNumber);
    /// @dev The outcome that was expected is not what the orders define.
    error ClearingWrong(uint256 givenWh, uint256 tradedWh, uint256 givenPriceWeiPerWh, uint256 priceWeiPerWh);
    error TooManyNumbers(uint256 given, uint256 maximum);
    error NothingToRelease(uint48 slot, Side side, uint16 number);
    error NoTrade(uint48 slot, uint16 bidNumber, uint16 askNumber);
    error AlreadySettled(uint48 slot, uint16 bidNumber, uint16 askNumber);
    error DeliveryNotOver(uint48 slot, uint48 until);
    /// @dev The meter's registers at the beginning and the end of the slot are not proven; that is waited for.
    error RegistersAwaited(address meter, uint48 from, uint48 until, uint48 awaitedUntil);

    /// @notice Share of a sealed order's money that is kept where it is never revealed, in hundredths of a percent: who
    ///         waits for the others' orders before deciding whether to stand by the own one pays for it.
    uint256 public constant FORFEIT_BPS = 1_000;
    /// @notice How long the readings of a slot are waited for, as a gateway may be off the network.
    uint48 public constant READING_GRACE_S = 3 days;

    /// @dev A trade is where its overlap begins: no other trade of the slot does.
    mapping(uint48 slot => mapping(uint48 fromWh => bool)) private _settled;

    constructor(IRegistry registry_, IMeter meterContract_, MarketRules market_)
        AuctionRules(registry_, meterContract_, market_)
    {}

    /// @notice Clears a slot. By anybody, from the time its book is complete until its delivery is over; where nobody
    ///         does, nothing is traded, and all money is free.
    /// @param bidNumbers the numbers of all open bids: by falling price, equal prices by number
    /// @param askNumbers the numbers of all open asks: by rising price, equal prices by number
    /// @param tradedWh energy that is traded, in Wh
    /// @param priceWeiPerWh the price of pay-as-clear, in wei per Wh; 0 where nothing is traded
    function clear(
        uint48 slot,
        uint16[] calldata bidNumbers,
        uint16[] calldata askNumbers,
        uint48 tradedWh,
        uint64 priceWeiPerWh
    ) external {
        Slot storage book = _slots[slot];
        if (book.lengthS == 0) revert SlotUnknown(slot);
        if (book.cleared) revert AlreadyCleared(slot);
        if (block.timestamp < _bookUntil(slot)) revert BookNotComplete(slot, _bookUntil(slot));
        if (block.timestamp >= slot + book.lengthS) revert ClearingOver(slot, slot + book.lengthS);
        Queue memory bids = _queue(slot, Side.Bid, bidNumbers, book.openBids);
        Queue memory asks = _queue(slot, Side.Ask, askNumbers, book.openAsks);
        (uint256 sumWh, uint256 priceWei) = _match(bids, asks);
        if (tradedWh != sumWh || priceWeiPerWh != priceWei) {
            revert ClearingWrong(tradedWh, sumWh, priceWeiPerWh, priceWei);
        }
        _write(slot, Side.Bid, bids, bidNumbers, sumWh);
        _write(slot, Side.Ask, asks, askNumbers, sumWh);
        book.cleared = true;
        book.tradedWh = tradedWh;
        book.priceWeiPerWh = priceWeiPerWh;
        emit SlotCleared(slot, msg.sender, book.pricing, tradedWh, priceWeiPerWh);
    }

    /// @notice Gives back the money of orders that no trade needs: what they did not trade, or traded for less than they
    ///         bid; all of it where the slot was not cleared in time. By anybody; the money goes to the orders' accounts.
    function release(uint48 slot, Side side, uint16[] calldata numbers) external {
        if (numbers.length > MAX_ORDERS) revert TooManyNumbers(numbers.length, MAX_ORDERS);
        Slot storage book = _slots[slot];
        for (uint256 index = 0; index < numbers.length; ++index) {
            _release(slot, book, side, numbers[index]);
        }
    }

    /// @notice Settles the trade of a bid with an ask by what both meters show for the slot. By anybody, when the delivery
    ///         is over and the registers of both meters at its two ends are proven.
    /// @dev Proofs are waited for READING_GRACE_S. After that a seller without proof has delivered nothing, and for a
    ///      buyer without proof the seller's alone decides: who keeps readings back gains nothing. A seller's meter that
    ///      was removed, or got a successor, brings no penalty.
    function settle(uint48 slot, uint16 bidNumber, uint16 askNumber) external {
        Slot storage book = _slots[slot];
        if (!book.cleared) revert NotCleared(slot);
        Order memory bought = _orders[slot][Side.Bid][bidNumber];
        Order memory sold = _orders[slot][Side.Ask][askNumber];
        (uint48 fromWh, uint48 untilWh) = _overlap(bought, sold);
        if (fromWh >= untilWh) revert NoTrade(slot, bidNumber, askNumber);
        if (_settled[slot][fromWh]) revert AlreadySettled(slot, bidNumber, askNumber);
        _settled[slot][fromWh] = true;
        (Delivery memory delivery, bool punished) = _delivery(slot, book, bought, sold);
        uint64 priceWei = book.pricing == Pricing.PayAsBid ? bought.priceWeiPerWh : book.priceWeiPerWh;
        Payment memory payment = _payment(book, bought, sold, priceWei, delivery, punished);
        _credit(sold.account, payment.shareWei + payment.depositWei);
        _credit(bought.account, payment.refundWei + payment.penaltyWei);
        if (payment.taxWei != 0) _credit(market.treasury(), payment.taxWei);
        emit TradeSettled(
            slot, sold.account, bought.account, bidNumber, askNumber, priceWei, delivery, payment
        );
    }

    /// @notice Whether the trade that begins at this place of a slot's traded energy is settled.
    function isSettled(uint48 slot, uint48 fromWh) external view returns (bool) {
        return _settled[slot][fromWh];
    }

    /// @dev The side's open orders in the given order, checked to be the right one: since it strictly advances, nothing is
    ///      in it twice, and since it is as long as there are open orders, nothing is missing.
    function _queue(uint48 slot, Side side, uint16[] calldata numbers, uint256 needed)
        private
        view
        returns (Queue memory queue)
    {
        uint256 count = numbers.length;
        if (count != needed) revert ClearingIncomplete(side, count, needed);
        queue.terms = new uint256[](count);
        uint256 lastPrice;
        for (uint256 index = 0; index < count; ++index) {
            uint16 number = numbers[index];
            Order storage order = _orders[slot][side][number];
            uint256 price = order.priceWeiPerWh;
            uint256 energyWh = order.energyWh;
            // A sealed order has no energy, and one that does not exist neither.
            if (energyWh == 0) revert OrderNotOpen(side, number);
            if (index != 0) {
                bool isBetter = side == Side.Bid ? price > lastPrice : price < lastPrice;
                if (isBetter || (price == lastPrice && number <= numbers[index - 1])) {
                    revert ClearingOutOfOrder(side, numbers[index - 1], number);
                }
            }
            lastPrice = price;
            queue.terms[index] = price << 32 | energyWh;
        }
        if (count != 0) queue.openWh = uint32(queue.terms[0]);
    }

    /// @dev Matches the best bid with the best ask until it offers less than is asked. At most as many steps as there are
    ///      orders, since each one finishes an order.
    function _match(Queue memory bids, Queue memory asks) private pure returns (uint256 sumWh, uint256 priceWei) {
        while (bids.position < bids.terms.length && asks.position < asks.terms.length) {
            uint256 bidWei = bids.terms[bids.position] >> 32;
            uint256 askWei = asks.terms[asks.position] >> 32;
            if (bidWei < askWei) break;
            uint256 energyWh = bids.openWh < asks.openWh ? bids.openWh : asks.openWh;
            sumWh += energyWh;
            bids.marginalWei = bidWei;
            asks.marginalWei = askWei;
            _advance(bids, energyWh);
            _advance(asks, energyWh);
        }
        if (sumWh != 0) priceWei = _priceOf(bids, asks);
    }

    function _advance(Queue memory queue, uint256 energyWh) private pure {
        queue.openWh -= energyWh;
        if (queue.openWh == 0 && ++queue.position < queue.terms.length) {
            queue.openWh = uint32(queue.terms[queue.position]);
        }
    }

    function _priceOf(Queue memory bids, Queue memory asks) private pure returns (uint256) {
        uint256 low = asks.marginalWei;
        uint256 high = bids.marginalWei;
        if (bids.position < bids.terms.length) {
            uint256 bidWei = bids.terms[bids.position] >> 32;
            if (bidWei > low) low = bidWei;
        }
        if (asks.position < asks.terms.length) {
            uint256 askWei = asks.terms[asks.position] >> 32;
            if (askWei < high) high = askWei;
        }
        return (low + high) / 2;
    }

    /// @dev Gives each order its part of the traded energy: from the best on, as much as it has, until all is given.
    function _write(uint48 slot, Side side, Queue memory queue, uint16[] calldata numbers, uint256 sumWh) private {
        uint256 fromWh;
        for (uint256 index = 0; fromWh < sumWh; ++index) {
            uint256 energyWh = uint32(queue.terms[index]);
            if (energyWh > sumWh - fromWh) energyWh = sumWh - fromWh;
            Order storage order = _orders[slot][side][numbers[index]];
            // At most MAX_ORDERS times MAX_ORDER_WH, which is below 2^39.
            order.fromWh = uint48(fromWh);
            order.tradedWh = uint32(energyWh);
            emit OrderMatched(slot, order.account, side, numbers[index], uint48(fromWh), uint32(energyWh));
            fromWh += energyWh;
        }
    }

    function _release(uint48 slot, Slot storage book, Side side, uint16 number) private {
        Order storage order = _orders[slot][side][number];
        OrderState state = order.state;
        address account = order.account;
        uint256 refundWei;
        uint256 forfeitWei;
        if (state == OrderState.Sealed && block.timestamp >= _bookUntil(slot)) {
            refundWei = _seals[slot][account].depositWei;
            delete _seals[slot][account];
            address treasury = market.treasury();
            if (treasury != address(0)) forfeitWei = refundWei * FORFEIT_BPS / BPS;
            refundWei -= forfeitWei;
            _credit(treasury, forfeitWei);
        } else if (state == OrderState.Open && (book.cleared || block.timestamp >= slot + book.lengthS)) {
            uint256 ownWei = order.priceWeiPerWh;
            bool isOnePrice = side == Side.Bid && book.pricing == Pricing.PayAsClear;
            refundWei = _neededWei(book, side, order.energyWh, ownWei)
                - _neededWei(book, side, order.tradedWh, isOnePrice ? book.priceWeiPerWh : ownWei);
        } else {
            revert NothingToRelease(slot, side, number);
        }
        order.state = OrderState.Released;
        _credit(account, refundWei);
        emit OrderReleased(slot, account, side, number, refundWei, forfeitWei);
    }

    /// @dev Where on the line a bid and an ask trade: nowhere if it does not begin before it ends.
    function _overlap(Order memory bought, Order memory sold) private pure returns (uint48 fromWh, uint48 untilWh) {
        fromWh = bought.fromWh > sold.fromWh ? bought.fromWh : sold.fromWh;
        untilWh = _lesser(bought.fromWh + bought.tradedWh, sold.fromWh + sold.tradedWh);
    }

    function _delivery(uint48 slot, Slot storage book, Order memory bought, Order memory sold)
        private
        view
        returns (Delivery memory delivery, bool punished)
    {
        uint48 sentUntilWh;
        (sentUntilWh, punished) = _sent(slot, book, sold);
        uint48 takenUntilWh = _taken(slot, book, bought);
        (uint48 fromWh, uint48 untilWh) = _overlap(bought, sold);
        sentUntilWh = _within(sentUntilWh, fromWh, untilWh);
        takenUntilWh = _within(takenUntilWh, fromWh, sentUntilWh);
        delivery.deliveredWh = uint32(takenUntilWh - fromWh);
        delivery.returnedWh = uint32(sentUntilWh - takenUntilWh);
        delivery.missingWh = uint32(untilWh - sentUntilWh);
    }

    /// @dev Up to where on the line a seller's energy came, and whether what did not come is punished.
    function _sent(uint48 slot, Slot storage book, Order memory sold) private view returns (uint48 untilWh, bool punished) {
        (bool proven,, uint64 exportWh) = _shown(slot, book, sold.meter);
        if (proven) return (sold.fromWh + _lesser(sold.tradedWh, exportWh), true);
        (IRegistry.Status status,,,) = registry.registrationOf(sold.meter);
        return (sold.fromWh, status == IRegistry.Status.Active);
    }

    /// @dev Up to where on the line a buyer's energy was taken.
    function _taken(uint48 slot, Slot storage book, Order memory bought) private view returns (uint48 untilWh) {
        (bool proven, uint64 importWh,) = _shown(slot, book, bought.meter);
        return bought.fromWh + (proven ? _lesser(bought.tradedWh, importWh) : bought.tradedWh);
    }

    function _shown(uint48 slot, Slot storage book, address meter)
        private
        view
        returns (bool proven, uint64 importWh, uint64 exportWh)
    {
        uint48 until = slot + book.lengthS;
        if (block.timestamp < until) revert DeliveryNotOver(slot, until);
        (proven, importWh, exportWh) = _energyBetween(meter, slot, until);
        if (!proven && block.timestamp < until + READING_GRACE_S) {
            revert RegistersAwaited(meter, slot, until, until + READING_GRACE_S);
        }
    }

    /// @dev The tax of a part of a bid is what it adds to the tax of all before it, so parts add up to the tax of the whole.
    function _payment(
        Slot storage book,
        Order memory bought,
        Order memory sold,
        uint256 priceWei,
        Delivery memory delivery,
        bool punished
    ) private view returns (Payment memory payment) {
        (uint48 fromWh,) = _overlap(bought, sold);
        uint256 beforeWh = fromWh - bought.fromWh;
        uint256 cameWh = delivery.deliveredWh;
        uint256 openWh = uint256(delivery.returnedWh) + delivery.missingWh;
        uint256 taxWei = _taxOn(book.taxBps, beforeWh + cameWh, priceWei);
        payment.shareWei = cameWh * priceWei;
        payment.taxWei = taxWei - _taxOn(book.taxBps, beforeWh, priceWei);
        payment.refundWei = openWh * priceWei + _taxOn(book.taxBps, beforeWh + cameWh + openWh, priceWei) - taxWei;
        uint256 depositPerWh = Deposits.perWh(sold.priceWeiPerWh, book.penaltyBps);
        if (punished) payment.penaltyWei = delivery.missingWh * depositPerWh;
        payment.depositWei = (cameWh + openWh) * depositPerWh - payment.penaltyWei;
    }

    function _meterContract() internal view override returns (IMeter) {
        return meterContract;
    }

    function _lesser(uint256 one, uint256 other) private pure returns (uint48) {
        // Both are places on the line or registers below 2^53 where the lesser one is a place.
        return uint48(one < other ? one : other);
    }

    function _within(uint48 place, uint48 fromWh, uint48 untilWh) private pure returns (uint48) {
        if (place < fromWh) return fromWh;
        return place < untilWh ? place : untilWh;
    }
}
