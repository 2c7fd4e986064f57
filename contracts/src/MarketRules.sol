// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Accounts} from "./Accounts.sol";
import {IExportSales} from "./IExportSales.sol";
import {IMeter} from "./IMeter.sol";
import {IRegistry} from "./IRegistry.sol";

/// @title The rules of a neighbourhood's market, which its regulators set (thesis, 5.2.1)
/// @notice Invariant: each rule is within its bounds. What an advert begins with, holds for it and for all that is sold
///         from it: a change touches only adverts after it. No rule moves money or energy that is there already.
abstract contract MarketRules is IExportSales {
    /// @dev One slot.
    /// @param taxBps tax on a producer's share, in hundredths of a percent
    /// @param penaltyBps deposit a producer puts down, of the energy's first price, in hundredths of a percent; see Deposits
    /// @param deliveryS time for the delivery of what was sold, in s
    /// @param leastWh least energy of an advert, and so of a store that holds any for sale, in Wh
    /// @param mostWh what the micro-grid's store takes, in Wh
    struct Rules {
        uint16 taxBps;
        uint16 penaltyBps;
        uint32 deliveryS;
        uint64 leastWh;
        uint64 mostWh;
    }

    /// @dev One slot and a half. The next treasury holds from `from` on.
    struct Treasury {
        address present;
        address next;
        uint48 from;
    }

    event TaxSet(address indexed regulator, uint16 taxBps);
    event PenaltySet(address indexed regulator, uint16 penaltyBps);
    event DeliveryTimeSet(address indexed regulator, uint32 deliveryS);
    event StoreLimitsSet(address indexed regulator, uint64 leastWh, uint64 mostWh);
    event GridControllerSet(address indexed regulator, address indexed gridController);
    /// @notice Taxes that fall due from this Unix time on go to this address.
    event TreasurySet(address indexed regulator, address indexed treasury, uint48 from);

    error NotRegulator(address caller);
    error TaxTooHigh(uint16 taxBps, uint16 maximumBps);
    /// @dev A tax needs somebody to be paid to.
    error TreasuryMissing();
    error PenaltyTooHigh(uint16 penaltyBps, uint16 maximumBps);
    error DeliveryTimeInvalid(uint32 deliveryS, uint32 minimumS, uint32 maximumS);
    /// @dev The limits must be minimumWh <= leastWh <= mostWh <= maximumWh.
    error StoreLimitsInvalid(uint64 leastWh, uint64 mostWh, uint64 minimumWh, uint64 maximumWh);

    /// @notice Highest tax: 30 %.
    uint16 public constant MAX_TAX_BPS = 3_000;
    /// @notice Highest deposit: the whole first price.
    uint16 public constant MAX_PENALTY_BPS = 10_000;
    /// @notice A delivery has at least an hour, since readings come every quarter of an hour, and at most a week, since
    ///         money is held as long.
    uint32 public constant MIN_DELIVERY_S = 1 hours;
    uint32 public constant MAX_DELIVERY_S = 7 days;
    /// @notice Bounds of the store's limits: 100 Wh and 1 GWh.
    uint64 public constant MIN_STORE_WH = 100;
    uint64 public constant MAX_STORE_WH = 1_000_000_000;
    /// @notice A new treasury is known a day before taxes go there, so that the other regulators can object.
    uint48 public constant TREASURY_NOTICE_S = 1 days;

    IRegistry public registry;
    IMeter public meterContract;
    /// @notice Where producers can sell the same energy, too.
    IExportSales public auction;
    /// @notice Who confirms deliveries.
    address public gridController;
    Rules internal _rules;
    Treasury internal _treasury;

    /// @dev The thesis's store, 1 to 1000 kWh (5.4.4), a tenth of the price as deposit and a day for the delivery.
    ///      The auction needs the market's address, too: its own is known beforehand from its deployer's nonce.
    constructor(IRegistry registry_, IMeter meterContract_, IExportSales auction_) {
        if (
            address(registry_) == address(0) || address(meterContract_) == address(0)
                || address(auction_) == address(0)
        ) revert Accounts.ZeroAddress();
        registry = registry_;
        meterContract = meterContract_;
        auction = auction_;
        _rules = Rules({taxBps: 0, penaltyBps: 1_000, deliveryS: 1 days, leastWh: 1_000, mostWh: 1_000_000});
    }

    modifier onlyRegulator() {
        _checkRegulator();
        _;
    }

    /// @notice Sets the tax on top of a producer's share, in hundredths of a percent. By a regulator.
    function setTax(uint16 taxBps) external onlyRegulator {
        if (taxBps > MAX_TAX_BPS) revert TaxTooHigh(taxBps, MAX_TAX_BPS);
        if (taxBps != 0 && treasury() == address(0)) revert TreasuryMissing();
        _rules.taxBps = taxBps;
        emit TaxSet(msg.sender, taxBps);
    }

    /// @notice Sets the deposit of a producer, in hundredths of a percent of the first price; 0 for none. By a regulator.
    function setPenalty(uint16 penaltyBps) external onlyRegulator {
        if (penaltyBps > MAX_PENALTY_BPS) revert PenaltyTooHigh(penaltyBps, MAX_PENALTY_BPS);
        _rules.penaltyBps = penaltyBps;
        emit PenaltySet(msg.sender, penaltyBps);
    }

    /// @notice Sets how long after its sale energy may be delivered, in s. By a regulator.
    function setDeliveryTime(uint32 deliveryS) external onlyRegulator {
        if (deliveryS < MIN_DELIVERY_S || deliveryS > MAX_DELIVERY_S) {
            revert DeliveryTimeInvalid(deliveryS, MIN_DELIVERY_S, MAX_DELIVERY_S);
        }
        _rules.deliveryS = deliveryS;
        emit DeliveryTimeSet(msg.sender, deliveryS);
    }

    /// @notice Sets the least energy of an advert, and what the store takes in all, in Wh. What is in it stays, even
    ///         where that is more than it takes from now on. By a regulator.
    function setStoreLimits(uint64 leastWh, uint64 mostWh) external onlyRegulator {
        if (leastWh < MIN_STORE_WH || leastWh > mostWh || mostWh > MAX_STORE_WH) {
            revert StoreLimitsInvalid(leastWh, mostWh, MIN_STORE_WH, MAX_STORE_WH);
        }
        _rules.leastWh = leastWh;
        _rules.mostWh = mostWh;
        emit StoreLimitsSet(msg.sender, leastWh, mostWh);
    }

    /// @notice Appoints who confirms deliveries; zero for nobody, then the readings decide alone. By a regulator.
    function setGridController(address gridController_) external onlyRegulator {
        gridController = gridController_;
        emit GridControllerSet(msg.sender, gridController_);
    }

    /// @notice Sets where taxes go: the first address at once, a later one after TREASURY_NOTICE_S. What fell due before
    ///         belongs to the address of that time. By a regulator.
    function setTreasury(address treasury_) external onlyRegulator {
        if (treasury_ == address(0)) revert Accounts.ZeroAddress();
        address present = treasury();
        uint48 from = uint48(block.timestamp);
        if (present == address(0)) present = treasury_;
        else from += TREASURY_NOTICE_S;
        _treasury = Treasury(present, treasury_, from);
        emit TreasurySet(msg.sender, treasury_, from);
    }

    /// @notice The rules for adverts from now on.
    function rules() external view returns (Rules memory) {
        return _rules;
    }

    /// @notice The treasury that is announced, and from which Unix time on taxes go there.
    function nextTreasury() external view returns (address next, uint48 from) {
        return (_treasury.next, _treasury.from);
    }

    /// @notice Where taxes that fall due now go; zero where there is none yet.
    function treasury() public view returns (address) {
        return block.timestamp < _treasury.from ? _treasury.present : _treasury.next;
    }

    function _roleOf(address account) internal view returns (IRegistry.Role) {
        return registry.roleOf(account);
    }

    function _checkRegulator() private view {
        if (_roleOf(msg.sender) != IRegistry.Role.Regulator) revert NotRegulator(msg.sender);
    }
}
