// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title Somebody who, when money arrives, calls again who sent it
contract ReenteringReceiver {
    bytes private _again;
    uint256 public attempts;
    uint256 public successes;
    bytes public refusal;

    function prepare(bytes calldata again) external {
        _again = again;
    }

    function act(address target, bytes calldata data) external payable {
        (bool done, bytes memory answer) = target.call{value: msg.value}(data);
        if (!done) {
            assembly ("memory-safe") {
                revert(add(answer, 32), mload(answer))
            }
        }
    }

    receive() external payable {
        ++attempts;
        (bool done, bytes memory answer) = msg.sender.call(_again);
        if (done) ++successes;
        else refusal = answer;
    }
}
