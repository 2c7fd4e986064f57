// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {MeterDays} from "./MeterDays.sol";

/// @title By which tariff a meter's readings are charged, also where they arrive late
/// @notice Invariant: a reading goes by the tariff that its meter had at the reading's own time; and no tariff is given
///         for a time that has passed.
/// @dev A change of tariff is remembered until a reading of a time after it was accepted: time never falls, so none will
///      ask for the tariffs before. A meter whose tariff has not changed since its last reading costs nothing more here:
///      a bit beside its other members says so.
abstract contract MeterTariffs is MeterDays {
    /// @dev What was the meter's until a Unix time, that second excluded. Three share a slot.
    struct EarlierTariff {
        uint32 tariff;
        uint40 until;
    }

    error TooManyTariffChanges(address meter, uint256 maximum);

    /// @notice Changes of a meter's tariff that may wait for its readings. After so many, a meter that is silent gets no
    ///         other tariff: what its next reading costs is bounded.
    uint256 public constant MAX_TARIFF_CHANGES = 16;

    /// @dev In order of `until`; empty where the bit in the meter's book is not set.
    mapping(address meter => EarlierTariff[]) private _earlierTariffs;

    /// @notice The tariff that a reading of a meter with this time, not before its last one, is charged by; 0 for none.
    /// @param time Unix time, in s
    function tariffOf(address meter, uint64 time) external view returns (uint32 tariff) {
        Book storage book = _books[meter];
        return book.hasEarlierTariffs ? _tariffAt(_earlierTariffs[meter], time, book.tariff) : book.tariff;
    }

    /// @dev From the block's time on. Where a reading as late as this was accepted already, no later one asks for the
    ///      tariff before.
    function _assign(address meter, uint32 tariff) internal {
        Book storage book = _books[meter];
        if (book.time < block.timestamp) {
            EarlierTariff[] storage earlier = _earlierTariffs[meter];
            if (earlier.length == MAX_TARIFF_CHANGES) revert TooManyTariffChanges(meter, MAX_TARIFF_CHANGES);
            earlier.push(EarlierTariff(book.tariff, uint40(block.timestamp)));
            book.hasEarlierTariffs = true;
        }
        book.tariff = tariff;
    }

    /// @dev The tariff of a reading that is being accepted; forgets the earlier ones where none is asked for any more.
    function _pickTariff(Book storage book, address meter, uint64 time) internal returns (uint32 tariff) {
        EarlierTariff[] storage earlier = _earlierTariffs[meter];
        tariff = book.tariff;
        if (time < earlier[earlier.length - 1].until) return _tariffAt(earlier, time, tariff);
        _forgetTariffs(book, meter);
    }

    function _forgetTariffs(Book storage book, address meter) internal {
        delete _earlierTariffs[meter];
        book.hasEarlierTariffs = false;
    }

    /// @dev At most MAX_TARIFF_CHANGES steps, from the newest back.
    function _tariffAt(EarlierTariff[] storage earlier, uint64 time, uint32 current)
        private
        view
        returns (uint32 tariff)
    {
        tariff = current;
        for (uint256 index = earlier.length; index != 0; --index) {
            EarlierTariff memory one = earlier[index - 1];
            if (time >= one.until) return tariff;
            tariff = one.tariff;
        }
    }
}
