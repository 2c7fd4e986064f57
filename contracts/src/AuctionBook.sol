// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Accounts} from "./Accounts.sol";
import {AuctionRules} from "./AuctionRules.sol";
import {Deposits} from "./Deposits.sol";
import {IExportSales} from "./IExportSales.sol";
import {IRegistry} from "./IRegistry.sol";
import {MarketRules} from "./MarketRules.sol";

/// @title Orders for energy of a slot: bids of consumers and asks of producers, open or sealed
/// @notice Invariant: for each order that is not released, the contract holds what it may cost: a bid's energy at its
///         price with the tax on it, an ask's deposit, all that came with a sealed order. An address has one order for a
///         slot at most, so it never trades with itself, and a meter's energy serves one order. Orders are binding.
///         What a meter exports in a slot for which it has an ask, does not count on the market.
abstract contract AuctionBook is AuctionRules, Accounts, IExportSales {
    enum Side {
        Bid,
        Ask
    }

    /// @notice What became of an order: sealed, open (its terms are known), or its money for what it did not trade has
    ///         been released.
    enum OrderState {
        None,
        Sealed,
        Open,
        Released
    }

    /// @dev Two slots. The clearing looks for everything it sorts by in the first.
    /// @param priceWeiPerWh a bid's highest, an ask's lowest price, in wei per Wh
    /// @param energyWh most energy, in Wh; part of it may be traded
    /// @param fromWh where its traded energy lies in the order of the clearing, in Wh
    /// @param tradedWh what it trades, in Wh
    struct Order {
        address account;
        uint64 priceWeiPerWh;
        uint32 energyWh;
        address meter;
        uint48 fromWh;
        uint32 tradedWh;
        OrderState state;
    }

    /// @dev One slot. Rules as they were at the first order.
    /// @param taxBps tax on what a buyer pays, in hundredths of a percent
    /// @param penaltyBps deposit of a seller, in hundredths of a percent of its own price (see Deposits)
    /// @param bidCount bids, sealed ones included
    /// @param openBids bids whose terms are known
    /// @param tradedWh energy traded in the slot, in Wh
    /// @param priceWeiPerWh the one price of the clearing; 0 where nothing is traded
    struct Slot {
        uint16 lengthS;
        uint16 taxBps;
        uint16 penaltyBps;
        uint16 bidCount;
        uint16 askCount;
        uint16 openBids;
        uint16 openAsks;
        bool isSealed;
        Pricing pricing;
        bool cleared;
        uint48 tradedWh;
        uint64 priceWeiPerWh;
    }

    /// @notice Where an address has its order for a slot: the `number`-th of a side, counted from 1; 0 where it has none.
    struct Place {
        Side side;
        uint16 number;
    }

    /// @notice A sealed order until it is revealed.
    struct Seal {
        bytes32 commitment;
        uint256 depositWei;
    }

    /// @notice The first order for a slot has come.
    event SlotOpened(
        uint48 indexed slot, uint16 lengthS, bool isSealed, Pricing pricing, uint16 taxBps, uint16 penaltyBps
    );
    /// @notice An order's terms are known. heldWei are held for it.
    event OrderPlaced(
        uint48 indexed slot,
        address indexed account,
        Side side,
        uint16 number,
        address meter,
        uint32 energyWh,
        uint64 priceWeiPerWh,
        uint256 heldWei
    );
    event OrderSealed(
        uint48 indexed slot,
        address indexed account,
        Side side,
        uint16 number,
        address meter,
        bytes32 commitment,
        uint256 depositWei
    );
    /// @notice A sealed order was revealed (OrderPlaced has its terms); what is not needed went to the account.
    event OrderRevealed(uint48 indexed slot, address indexed account, uint256 refundWei);

    error NotConsumer(address caller);
    error NotProducer(address caller);
    error NotMeterOwner(address meter, address caller);
    error MeterInactive(address meter);
    /// @dev What the meter exports is for sale, or sold and not settled, on the market.
    error MeterSellsOnMarket(address meter);
    /// @dev A slot begins at a whole multiple of its length.
    error SlotInvalid(uint48 slot, uint16 lengthS);
    error SlotTooFar(uint48 slot, uint48 latest);
    error OrdersOver(uint48 slot, uint48 until);
    error BookFull(uint48 slot, Side side, uint256 maximum);
    error AlreadyOrdered(uint48 slot, address account, Side side, uint16 number);
    error EnergyInvalid(uint32 energyWh, uint32 maximumWh);
    error PriceZero();
    error PaymentInvalid(uint256 paidWei, uint256 neededWei);
    error SlotIsSealed(uint48 slot);
    error SlotIsOpen(uint48 slot);
    error DepositInvalid(uint256 depositWei, uint256 minimumWei, uint256 maximumWei);
    error CommitmentZero();
    error NothingSealed(uint48 slot, address account);
    error RevealTooSoon(uint48 slot, uint48 from);
    error RevealOver(uint48 slot, uint48 until);
    error CommitmentDiffers(uint48 slot, address account, bytes32 given, bytes32 committed);

    /// @notice Most bids, and most asks, of a slot: a clearing that looks at all of them fits a third of a block.
    uint256 public constant MAX_ORDERS = 400;
    /// @notice Most energy of an order: 1 GWh.
    uint32 public constant MAX_ORDER_WH = 1_000_000_000;
    /// @notice Before a slot begins, the time in which its book is complete and can be cleared.
    uint48 public constant CLEARING_LEAD_S = 15 minutes;
    /// @notice Before that, the time in which sealed orders are revealed.
    uint48 public constant REVEAL_S = 15 minutes;
    /// @notice Least money with a sealed order, so that an order which is never revealed costs something.
    uint256 public constant MIN_SEALED_WEI = 0.01 ether;
    /// @notice Most money with a sealed order: more than the dearest order can cost.
    uint256 public constant MAX_SEALED_WEI = type(uint128).max;

    uint256 internal constant BPS = 10_000;

    mapping(uint48 slot => Slot) internal _slots;
    /// @dev By side and number, from 1: the sequence that decides among equal prices.
    mapping(uint48 slot => mapping(Side => mapping(uint256 number => Order))) internal _orders;
    mapping(uint48 slot => mapping(address account => Place)) private _places;
    mapping(uint48 slot => mapping(address account => Seal)) internal _seals;
    /// @inheritdoc IExportSales
    /// @dev The end of the last slot for which there is an ask with the meter, sealed ones included. So it is over by
    ///      itself, a day and a slot after the order at most.
    mapping(address meter => uint48 until) public exportSoldUntil;

    /// @notice Bids for energy of a slot (by a consumer, with the price of all of it and the tax), or offers some (by a
    ///         producer, with the deposit). Where orders are open.
    /// @param slot Unix time at which it begins, in s
    /// @param meter the caller's own, by which delivery is judged
    /// @param energyWh most energy, in Wh
    /// @param priceWeiPerWh a bid's highest price, without tax, or an ask's lowest, in wei per Wh
    function placeOrder(uint48 slot, Side side, address meter, uint32 energyWh, uint64 priceWeiPerWh) external payable {
        uint16 number = _take(slot, side, meter, false);
        _open(slot, side, number, meter, energyWh, priceWeiPerWh, msg.value, true);
    }

    /// @notice Places an order whose energy and price stay hidden, where orders are sealed. With at least the money it
    ///         needs: more hides how much that is.
    /// @param commitment as `commitmentOf` gives it
    function sealOrder(uint48 slot, Side side, address meter, bytes32 commitment) external payable {
        uint16 number = _take(slot, side, meter, true);
        if (commitment == 0) revert CommitmentZero();
        if (msg.value < MIN_SEALED_WEI || msg.value > MAX_SEALED_WEI) {
            revert DepositInvalid(msg.value, MIN_SEALED_WEI, MAX_SEALED_WEI);
        }
        _orders[slot][side][number].state = OrderState.Sealed;
        _seals[slot][msg.sender] = Seal(commitment, msg.value);
        emit OrderSealed(slot, msg.sender, side, number, meter, commitment, msg.value);
    }

    /// @notice Reveals the caller's sealed order for a slot; money that it does not need goes to the account.
    /// @param salt the secret number that went into the commitment
    function reveal(uint48 slot, uint32 energyWh, uint64 priceWeiPerWh, bytes32 salt) external {
        Seal memory hidden = _seals[slot][msg.sender];
        if (hidden.commitment == 0) revert NothingSealed(slot, msg.sender);
        if (block.timestamp < _ordersUntil(slot, true)) revert RevealTooSoon(slot, _ordersUntil(slot, true));
        if (block.timestamp >= _bookUntil(slot)) revert RevealOver(slot, _bookUntil(slot));
        Place memory place = _places[slot][msg.sender];
        bytes32 given = commitmentOf(slot, msg.sender, place.side, energyWh, priceWeiPerWh, salt);
        if (given != hidden.commitment) revert CommitmentDiffers(slot, msg.sender, given, hidden.commitment);
        delete _seals[slot][msg.sender];
        address meter = _orders[slot][place.side][place.number].meter;
        uint256 refundWei =
            _open(slot, place.side, place.number, meter, energyWh, priceWeiPerWh, hidden.depositWei, false);
        _credit(msg.sender, refundWei);
        emit OrderRevealed(slot, msg.sender, refundWei);
    }

    /// @notice The commitment of a sealed order. It holds for one address, slot, side, contract and chain only.
    /// @dev Wallets compute it themselves: who asks a node for it tells the node the order.
    /// @param salt a random number of 256 bits; without one the order could be guessed
    function commitmentOf(
        uint48 slot,
        address account,
        Side side,
        uint32 energyWh,
        uint64 priceWeiPerWh,
        bytes32 salt
    ) public view returns (bytes32) {
        return keccak256(
            abi.encode(block.chainid, address(this), slot, account, side, energyWh, priceWeiPerWh, salt)
        );
    }

    /// @notice The Unix times of a slot, in s: until when orders are taken, until when sealed ones are revealed, and with
    ///         that from when on it can be cleared, when its delivery begins, and when delivery and time to clear end.
    function timesOf(uint48 slot)
        external
        view
        returns (uint48 ordersUntil, uint48 bookUntil, uint48 deliveryFrom, uint48 deliveryUntil)
    {
        Slot memory book = slotOf(slot);
        return (_ordersUntil(slot, book.isSealed), _bookUntil(slot), slot, slot + book.lengthS);
    }

    /// @notice The book of a slot; where it has no orders yet, with the rules that the first one would bring.
    function slotOf(uint48 slot) public view returns (Slot memory book) {
        book = _slots[slot];
        if (book.lengthS == 0) book = _newBook(slot);
    }

    function placeOf(uint48 slot, address account) external view returns (Place memory) {
        return _places[slot][account];
    }

    function sealOf(uint48 slot, address account) external view returns (Seal memory) {
        return _seals[slot][account];
    }

    /// @notice All orders of a side in their sequence, the first has number 1; at most MAX_ORDERS.
    function ordersOf(uint48 slot, Side side) external view returns (Order[] memory orders) {
        orders = new Order[](side == Side.Bid ? _slots[slot].bidCount : _slots[slot].askCount);
        for (uint256 index = 0; index < orders.length; ++index) {
            orders[index] = _orders[slot][side][index + 1];
        }
    }

    /// @dev A bid's price and tax, an ask's deposit. At most 1.3 times 2^94 wei.
    function _neededWei(Slot storage book, Side side, uint256 energyWh, uint256 priceWeiPerWh)
        internal
        view
        returns (uint256)
    {
        if (side == Side.Ask) return energyWh * Deposits.perWh(priceWeiPerWh, book.penaltyBps);
        return energyWh * priceWeiPerWh + _taxOn(book.taxBps, energyWh, priceWeiPerWh);
    }

    function _taxOn(uint256 taxBps, uint256 energyWh, uint256 priceWeiPerWh) internal pure returns (uint256) {
        return energyWh * priceWeiPerWh * taxBps / BPS;
    }

    function _bookUntil(uint48 slot) internal pure returns (uint48) {
        return slot < CLEARING_LEAD_S ? 0 : slot - CLEARING_LEAD_S;
    }

    function _ordersUntil(uint48 slot, bool isSealed) internal pure returns (uint48) {
        uint48 until = _bookUntil(slot);
        if (!isSealed) return until;
        return until < REVEAL_S ? 0 : until - REVEAL_S;
    }

    /// @dev Makes the terms of an order known. Returns what of the money it does not need.
    function _open(
        uint48 slot,
        Side side,
        uint16 number,
        address meter,
        uint32 energyWh,
        uint64 priceWeiPerWh,
        uint256 paidWei,
        bool isExact
    ) private returns (uint256 refundWei) {
        if (energyWh == 0 || energyWh > MAX_ORDER_WH) revert EnergyInvalid(energyWh, MAX_ORDER_WH);
        if (priceWeiPerWh == 0) revert PriceZero();
        Slot storage book = _slots[slot];
        uint256 heldWei = _neededWei(book, side, energyWh, priceWeiPerWh);
        if (paidWei < heldWei || (isExact && paidWei != heldWei)) revert PaymentInvalid(paidWei, heldWei);
        if (side == Side.Bid) ++book.openBids;
        else ++book.openAsks;
        Order storage order = _orders[slot][side][number];
        order.energyWh = energyWh;
        order.priceWeiPerWh = priceWeiPerWh;
        order.state = OrderState.Open;
        emit OrderPlaced(slot, msg.sender, side, number, meter, energyWh, priceWeiPerWh, heldWei);
        return paidWei - heldWei;
    }

    /// @dev Checks who orders for what and when, and gives the order its number in the book.
    function _take(uint48 slot, Side side, address meter, bool isSealed) private returns (uint16 number) {
        _checkCaller(side, meter);
        Slot memory book = slotOf(slot);
        if (slot % book.lengthS != 0) revert SlotInvalid(slot, book.lengthS);
        uint48 latest = uint48(block.timestamp) + MAX_AHEAD_S;
        if (slot > latest) revert SlotTooFar(slot, latest);
        if (isSealed && !book.isSealed) revert SlotIsOpen(slot);
        if (!isSealed && book.isSealed) revert SlotIsSealed(slot);
        uint48 until = _ordersUntil(slot, isSealed);
        if (block.timestamp >= until) revert OrdersOver(slot, until);
        Place memory place = _places[slot][msg.sender];
        if (place.number != 0) revert AlreadyOrdered(slot, msg.sender, place.side, place.number);
        if (book.bidCount + book.askCount == 0) {
            emit SlotOpened(slot, book.lengthS, isSealed, book.pricing, book.taxBps, book.penaltyBps);
        }
        number = side == Side.Bid ? ++book.bidCount : ++book.askCount;
        if (number > MAX_ORDERS) revert BookFull(slot, side, MAX_ORDERS);
        _slots[slot] = book;
        _places[slot][msg.sender] = Place(side, number);
        Order storage order = _orders[slot][side][number];
        order.account = msg.sender;
        order.meter = meter;
        if (side == Side.Ask) _reserve(meter, slot, slot + book.lengthS);
    }

    /// @dev The market begins with the meter's energy after the slot only. It must have nothing open with the meter now:
    ///      then all that it has counted was measured before now, and so before the slot.
    function _reserve(address meter, uint48 slot, uint48 until) private {
        if (market.exportSoldUntil(meter) > slot) revert MeterSellsOnMarket(meter);
        if (exportSoldUntil[meter] < until) exportSoldUntil[meter] = until;
    }

    function _checkCaller(Side side, address meter) private view {
        IRegistry.Role role = registry.roleOf(msg.sender);
        if (side == Side.Bid && role != IRegistry.Role.Consumer) revert NotConsumer(msg.sender);
        if (side == Side.Ask && role != IRegistry.Role.Producer) revert NotProducer(msg.sender);
        (IRegistry.Status status,, address owner,) = registry.registrationOf(meter);
        if (owner != msg.sender) revert NotMeterOwner(meter, msg.sender);
        if (status != IRegistry.Status.Active) revert MeterInactive(meter);
    }

    function _newBook(uint48 slot) private view returns (Slot memory book) {
        Rules memory rules = rulesAt(slot);
        MarketRules.Rules memory trade = market.rules();
        book.lengthS = rules.lengthS;
        book.isSealed = rules.isSealed;
        book.pricing = rules.pricing;
        book.taxBps = trade.taxBps;
        book.penaltyBps = trade.penaltyBps;
    }
}
