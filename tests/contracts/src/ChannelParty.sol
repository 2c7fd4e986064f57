// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title A party of a payment channel that is a contract, and takes its money as it is told to
contract ChannelParty {
    enum Manner {
        Take,
        Refuse,
        BurnGas,
        RefuseAtLength,
        CallBack
    }

    Manner public manner;
    address private target;
    bytes private data;
    uint256 public calls;
    uint256 public successes;

    function behave(Manner manner_, address target_, bytes calldata data_) external {
        manner = manner_;
        target = target_;
        data = data_;
    }

    function act(address to, bytes calldata call_) external payable {
        (bool done, bytes memory reason) = to.call{value: msg.value}(call_);
        if (!done) {
            assembly ("memory-safe") {
                revert(add(reason, 32), mload(reason))
            }
        }
    }

    /// @dev Whether the call went well with so little gas.
    function actWithGas(address to, bytes calldata call_, uint256 gasLimit) external returns (bool done) {
        (done,) = to.call{gas: gasLimit}(call_);
    }

    receive() external payable {
        if (manner == Manner.Refuse) revert("no");
        if (manner == Manner.BurnGas) while (true) calls = calls + 1;
        if (manner == Manner.RefuseAtLength) {
            assembly ("memory-safe") {
                revert(0, 2000000)
            }
        }
        if (manner == Manner.CallBack) {
            (bool done,) = target.call(data);
            if (done) successes = successes + 1;
            else calls = calls + 1;
        }
    }
}
