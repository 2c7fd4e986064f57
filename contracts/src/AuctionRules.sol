// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Accounts} from "./Accounts.sol";
import {IMeter} from "./IMeter.sol";
import {IRegistry} from "./IRegistry.sol";
import {MarketRules} from "./MarketRules.sol";

/// @title The rules of the auction, which the regulators set (thesis, 5.2.1 and 8.3)
/// @notice Invariant: slots cover all time without overlap, since a change begins at a whole hour, which every length of
///         slot divides, and beyond all slots that orders could be given for. So no change touches an order. Tax,
///         deposit and treasury are those of the market.
abstract contract AuctionRules {
    /// @notice What those that trade in a slot pay for a Wh: all the same price, or each buyer the price it bid.
    enum Pricing {
        PayAsClear,
        PayAsBid
    }

    /// @param lengthS length of a slot, in s
    /// @param isSealed whether energy and price of orders stay hidden until the book is complete
    /// @param pricing what is paid
    struct Rules {
        uint16 lengthS;
        bool isSealed;
        Pricing pricing;
    }

    /// @notice For slots that begin at `from` (Unix time, in s) or later.
    event RulesSet(address indexed regulator, uint16 lengthS, bool isSealed, Pricing pricing, uint48 from);

    error NotRegulator(address caller);
    /// @dev An hour must be a whole number of slots.
    error SlotLengthInvalid(uint16 lengthS, uint16 minimumS, uint16 maximumS);
    /// @dev One change at a time: the announced rules must hold before others are announced.
    error RulesPending(uint48 from);

    uint16 public constant MIN_LENGTH_S = 5 minutes;
    uint16 public constant MAX_LENGTH_S = 1 hours;
    /// @notice Orders are taken for slots that begin within a day.
    uint48 public constant MAX_AHEAD_S = 1 days;

    IRegistry public registry;
    IMeter public meterContract;
    /// @notice Whose tax, deposit and treasury hold here, and which sells energy of the same meters.
    MarketRules public market;
    Rules private _present;
    Rules private _next;
    uint48 private _nextFrom;

    /// @dev A quarter of an hour, open orders, one price.
    constructor(IRegistry registry_, IMeter meterContract_, MarketRules market_) {
        if (address(registry_) == address(0) || address(meterContract_) == address(0) || address(market_) == address(0))
        {
            revert Accounts.ZeroAddress();
        }
        registry = registry_;
        meterContract = meterContract_;
        market = market_;
        _present = Rules({lengthS: 15 minutes, isSealed: false, pricing: Pricing.PayAsClear});
        _next = _present;
    }

    /// @notice Sets the rules for slots that begin at the first whole hour after MAX_AHEAD_S, or later. By a regulator.
    function setRules(uint16 lengthS, bool isSealed, Pricing pricing) external {
        if (registry.roleOf(msg.sender) != IRegistry.Role.Regulator) revert NotRegulator(msg.sender);
        if (lengthS < MIN_LENGTH_S || lengthS > MAX_LENGTH_S || MAX_LENGTH_S % lengthS != 0) {
            revert SlotLengthInvalid(lengthS, MIN_LENGTH_S, MAX_LENGTH_S);
        }
        uint48 from = _nextFrom;
        if (block.timestamp < from) revert RulesPending(from);
        // The first hour of which no slot could have an order yet, nor get one in this second.
        from = (uint48(block.timestamp) + MAX_AHEAD_S) / MAX_LENGTH_S * MAX_LENGTH_S + MAX_LENGTH_S;
        _present = _next;
        _next = Rules(lengthS, isSealed, pricing);
        _nextFrom = from;
        emit RulesSet(msg.sender, lengthS, isSealed, pricing, from);
    }

    /// @notice The rules of slots that begin at or around a Unix time, in s, not long past.
    function rulesAt(uint48 time) public view returns (Rules memory) {
        return time < _nextFrom ? _present : _next;
    }

    /// @notice The rules announced last, and from which Unix time on slots follow them; 0: from the beginning.
    function latestRules() external view returns (Rules memory latest, uint48 from) {
        return (_next, _nextFrom);
    }
}
