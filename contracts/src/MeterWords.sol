// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @dev The first two slots of MeterDays.Book as words on the stack: a reading unpacks a few members of each, and copies
///      in memory would cost it as much as a slot. The first member lies in the lowest bits, as the compiler packs them;
///      tests hold this against the compiler's layout.
type LinkWord is uint256;
type StateWord is uint256;

using {supplier, status, sinkNumber, hasEarlierTariffs, tariff, openedAt} for LinkWord global;
using {importWh, exportWh, sequence, time, powerW} for StateWord global;

function supplier(LinkWord word) pure returns (address) {
    return address(uint160(LinkWord.unwrap(word)));
}

function status(LinkWord word) pure returns (uint256) {
    return uint8(LinkWord.unwrap(word) >> 160);
}

function sinkNumber(LinkWord word) pure returns (uint8) {
    return uint8(LinkWord.unwrap(word) >> 168);
}

function hasEarlierTariffs(LinkWord word) pure returns (bool) {
    return uint8(LinkWord.unwrap(word) >> 176) != 0;
}

function tariff(LinkWord word) pure returns (uint32) {
    return uint32(LinkWord.unwrap(word) >> 184);
}

function openedAt(LinkWord word) pure returns (uint64) {
    return uint40(LinkWord.unwrap(word) >> 216);
}

/// @dev No bit of a member may be outside of its width.
function packState(
    uint256 importWh_,
    uint256 exportWh_,
    uint256 sequence_,
    uint256 time_,
    int32 powerW_,
    uint256 flags_
) pure returns (StateWord) {
    return StateWord.wrap(
        importWh_ | exportWh_ << 56 | sequence_ << 112 | time_ << 160 | uint256(uint32(powerW_)) << 208
            | flags_ << 240
    );
}

function importWh(StateWord word) pure returns (uint64) {
    return uint56(StateWord.unwrap(word));
}

function exportWh(StateWord word) pure returns (uint64) {
    return uint56(StateWord.unwrap(word) >> 56);
}

function sequence(StateWord word) pure returns (uint64) {
    return uint48(StateWord.unwrap(word) >> 112);
}

function time(StateWord word) pure returns (uint64) {
    return uint48(StateWord.unwrap(word) >> 160);
}

function powerW(StateWord word) pure returns (int32) {
    return int32(uint32(StateWord.unwrap(word) >> 208));
}
